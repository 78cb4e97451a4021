// Natsbox is a client of NATS for pods and hooks of the chart in e2e/charts: it makes a
// stream, publishes to it and reads from it, and says what the cluster looks like.
//
// Where the server is, and who asks, is in NATS_URL, NATS_USER and NATS_PASSWORD.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pace is the time between two messages: publishing lasts while something else goes on.
const pace = 100 * time.Millisecond

// patience is how long a command tries: a cluster elects leaders when it starts, and again
// for each member that a rollout replaces.
const patience = 5 * time.Minute

const usage = `usage: natsbox
  stream NAME SUBJECT REPLICAS   make a stream, or change one
  publish SUBJECT COUNT PREFIX   publish PREFIX1 … PREFIXn, each stored before the next
  read STREAM                    print every message of a stream, a line each
  info STREAM                    print a stream's state as JSON
  work SUBJECT                   burn processor time for every message, until stopped`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "natsbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	connection, err := nats.Connect(os.Getenv("NATS_URL"),
		nats.UserInfo(os.Getenv("NATS_USER"), os.Getenv("NATS_PASSWORD")),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer connection.Close()
	streams, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	command, args := args[0], args[1:]
	if command == "work" && len(args) == 1 {
		return work(ctx, connection, args[0])
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch {
	case command == "stream" && len(args) == 3:
		return makeStream(ctx, streams, args[0], args[1], args[2])
	case command == "publish" && len(args) == 3:
		return publish(ctx, streams, args[0], args[1], args[2])
	case command == "read" && len(args) == 1:
		return read(ctx, streams, args[0])
	case command == "info" && len(args) == 1:
		return info(ctx, streams, args[0])
	}
	return errors.New(usage)
}

// retry tries until it succeeds or the patience ends: members come and go.
func retry(ctx context.Context, try func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := try(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func makeStream(ctx context.Context, streams jetstream.JetStream, name, subject, replicas string) error {
	count, err := strconv.Atoi(replicas)
	if err != nil {
		return err
	}
	return retry(ctx, func(ctx context.Context) error {
		_, err := streams.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Replicas: count})
		return err
	})
}

func publish(ctx context.Context, streams jetstream.JetStream, subject, count, prefix string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		text := prefix + strconv.Itoa(i)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pace):
		}
		err := retry(ctx, func(ctx context.Context) error {
			// The id makes a second try of what was stored harmless.
			_, err := streams.Publish(ctx, subject, []byte(text), jetstream.WithMsgID(text))
			return err
		})
		if err != nil {
			return fmt.Errorf("publish %s: %w", text, err)
		}
	}
	return nil
}

func read(ctx context.Context, streams jetstream.JetStream, name string) error {
	return retry(ctx, func(ctx context.Context) error {
		stream, err := streams.Stream(ctx, name)
		if err != nil {
			return err
		}
		state := stream.CachedInfo().State
		var lines []byte
		for sequence := state.FirstSeq; sequence <= state.LastSeq && state.Msgs > 0; sequence++ {
			message, err := stream.GetMsg(ctx, sequence)
			if err != nil {
				return err
			}
			lines = append(append(lines, message.Data...), '\n')
		}
		_, err = os.Stdout.Write(lines)
		return err
	})
}

func info(ctx context.Context, streams jetstream.JetStream, name string) error {
	return retry(ctx, func(ctx context.Context) error {
		stream, err := streams.Stream(ctx, name)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(stream.CachedInfo())
	})
}

// work shares the messages with all other workers.
func work(ctx context.Context, connection *nats.Conn, subject string) error {
	_, err := connection.QueueSubscribe(subject, "workers", func(message *nats.Msg) {
		for end := time.Now().Add(10 * time.Millisecond); time.Now().Before(end); {
		}
		_ = message.Respond([]byte("done")) // nobody may be waiting
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return connection.Drain()
}
