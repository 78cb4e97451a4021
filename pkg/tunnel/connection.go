package tunnel

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// retryMin and retryMax are the pauses between the attempts of a connection that waits.
	retryMin = 50 * time.Millisecond
	retryMax = time.Second
	// openingBytes is how much a client may say before the pod has answered for it to be said again: a TLS ClientHello
	// with all its extensions has 2 KiB.
	openingBytes = 16 << 10
	// linger is how long a session stays whose client has said all it will.
	linger = 10 * time.Second
	// reasonPatience is how long the host may take to say why it ended a stream.
	reasonPatience = time.Second
)

// errNoAnswer is the end of a session that nothing came out of, when the host gives no reason.
var errNoAnswer = errors.New("the control plane's pod closed the connection without an answer")

// serve forwards one connection.
func (t *Tunnel) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()

	c := &connection{client: client}
	patient, cancel := context.WithTimeout(ctx, t.options.Patience)
	defer cancel()
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		pod := t.known()
		guessed := pod != ""
		err := t.attempt(ctx, patient, c, pod)
		if err == nil || c.gone || ctx.Err() != nil {
			return
		}
		t.remember("")
		if guessed && !c.excess {
			continue // it may have gone long ago
		}
		t.failed(err)
		if permanent(err) || c.excess || !sleep(patient, pause) {
			return // the client sees a connection that was closed; Report has told why
		}
	}
}

// attempt forwards the connection by one session with pod, or with the one that is found. patient bounds how long it
// takes to get a session; ctx is that of the tunnel. An error says that nothing came back.
func (t *Tunnel) attempt(ctx, patient context.Context, c *connection, pod string) error {
	if pod == "" {
		var err error
		if pod, err = t.options.Pod(patient); err != nil {
			return err
		}
		t.remember(pod)
	}
	s, err := t.dial.open(patient, pod)
	if err != nil {
		return err
	}
	defer s.close()
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	return c.join(s, t.worked)
}

// permanent errors do not get better within a minute.
func permanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}

// connection is one of a client's, over all its attempts.
type connection struct {
	client net.Conn
	// opening is what the client has said while nothing had come back.
	opening []byte
	excess  bool // it was more than is kept
	ended   bool // the client has said all it will

	answered bool // something came back: from here on there is no second attempt
	gone     bool // the client cannot be written to
}

// join copies both ways until one end is done. An error says that nothing came back, so that there may be another try.
func (c *connection) join(s *session, answered func()) error {
	var up sync.WaitGroup
	var mu sync.Mutex // of c's fields, which both ways use
	over := false     // the session is: what the client says is for the next
	again := c.opening
	_ = c.client.SetReadDeadline(time.Time{})
	up.Go(func() {
		if len(again) > 0 {
			if _, err := s.data.Write(again); err != nil {
				s.close()
				return
			}
		}
		buffer := make([]byte, 32<<10)
		for !c.ended {
			n, err := c.client.Read(buffer)
			mu.Lock()
			if n > 0 && !c.answered {
				if c.excess = c.excess || len(c.opening)+n > openingBytes; !c.excess {
					c.opening = append(c.opening, buffer[:n]...)
				}
			}
			done := over
			mu.Unlock()
			if done {
				return
			}
			if n > 0 {
				if _, err := s.data.Write(buffer[:n]); err != nil {
					s.close()
					return
				}
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return // join is over
			}
			if err != nil {
				c.ended = true
			}
		}
		_ = s.data.Close()
		timer := time.AfterFunc(linger, s.close)
		<-s.streams.CloseChan()
		timer.Stop()
	})

	buffer := make([]byte, 32<<10)
	for {
		n, err := s.data.Read(buffer)
		if n > 0 {
			mu.Lock()
			first := !c.answered
			c.answered, c.opening = true, nil
			mu.Unlock()
			if first {
				answered()
			}
			if _, err := c.client.Write(buffer[:n]); err != nil {
				c.gone = true
				break
			}
		}
		if err != nil {
			break
		}
	}
	reason := errNoAnswer
	if !c.answered {
		reason = s.reason()
	}
	mu.Lock()
	over = true
	mu.Unlock()
	s.close()
	_ = c.client.SetReadDeadline(time.Unix(1, 0)) // ends the reading, and loses nothing that came
	up.Wait()
	if c.answered {
		return nil
	}
	if c.ended {
		c.gone = true // who has hung up does not wait for an answer
	}
	return reason
}

// reason is why nothing came back.
func (s *session) reason() error {
	timer := time.NewTimer(reasonPatience)
	defer timer.Stop()
	select {
	case text := <-s.refused:
		if text != "" {
			return errors.New(text)
		}
	case <-timer.C:
	}
	return errNoAnswer
}
