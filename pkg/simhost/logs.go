package simhost

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A simulated container writes one line when it starts, "tick 0 …", and one
// every second of its life. maxLogLines of them are kept.
const maxLogLines = 10000

// logQuery are the options of a request for logs.
type logQuery struct {
	follow, previous, timestamps bool
	tail                         int       // -1: all
	since                        time.Time // zero: the start
	limit                        int64     // bytes; -1: none
}

func parseLogQuery(values url.Values) (logQuery, error) {
	query := logQuery{tail: -1, limit: -1}
	for name, field := range map[string]*bool{"follow": &query.follow, "previous": &query.previous, "timestamps": &query.timestamps} {
		if text := values.Get(name); text != "" {
			value, err := strconv.ParseBool(text)
			if err != nil {
				return query, fmt.Errorf("%s: %q is not a boolean", name, text)
			}
			*field = value
		}
	}
	for name, set := range map[string]func(n int64){
		"tailLines":    func(n int64) { query.tail = int(n) },
		"limitBytes":   func(n int64) { query.limit = n },
		"sinceSeconds": func(n int64) { query.since = time.Now().Add(-time.Duration(n) * time.Second) },
	} {
		if text := values.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return query, fmt.Errorf("%s: %q is not a number", name, text)
			}
			set(n)
		}
	}
	if text := values.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return query, fmt.Errorf("sinceTime: %q is not a time", text)
		}
		query.since = since
	}
	return query, nil
}

// lifeOf says when a container started and when it ended; the zero time means
// that it runs. There is no life in a container that waits.
func lifeOf(state corev1.ContainerState) (started, ended time.Time, ok bool) {
	switch {
	case state.Running != nil:
		return state.Running.StartedAt.Time, time.Time{}, true
	case state.Terminated != nil:
		return state.Terminated.StartedAt.Time, state.Terminated.FinishedAt.Time, true
	default:
		return time.Time{}, time.Time{}, false
	}
}

// write writes the lines of a life, and goes on with it if they are followed.
func (q logQuery) write(ctx context.Context, w io.Writer, source string, started, ended time.Time) error {
	until := ended
	if ended.IsZero() {
		until = time.Now()
	}
	next := int(until.Sub(started)/time.Second) + 1 // the first line that is not written yet
	first := max(0, next-maxLogLines)
	if q.tail >= 0 {
		first = max(first, next-q.tail)
	}
	var text bytes.Buffer
	for number := first; number < next; number++ {
		text.WriteString(q.line(source, number, started))
	}
	if err := q.send(w, text.Bytes()); err != nil {
		return err
	}
	for q.follow && ended.IsZero() && q.limit != 0 {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(started.Add(time.Duration(next) * time.Second))):
		}
		if err := q.send(w, []byte(q.line(source, next, started))); err != nil {
			return err
		}
		next++
	}
	return nil
}

// line is empty if the query does not reach back so far.
func (q logQuery) line(source string, number int, started time.Time) string {
	at := started.Add(time.Duration(number) * time.Second)
	if at.Before(q.since) {
		return ""
	}
	text := fmt.Sprintf("tick %d of %s\n", number, source)
	if q.timestamps {
		return at.UTC().Format(time.RFC3339Nano) + " " + text
	}
	return text
}

// send writes as much as the limit leaves.
func (q *logQuery) send(w io.Writer, text []byte) error {
	if q.limit >= 0 {
		text = text[:min(int64(len(text)), q.limit)]
		q.limit -= int64(len(text))
	}
	if len(text) == 0 {
		return nil
	}
	_, err := w.Write(text)
	return err
}
