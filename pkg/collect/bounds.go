package collect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// What a report costs at most.
const (
	// requestTimeout is for one request, the reading of its answer included.
	requestTimeout = 20 * time.Second
	// answerBytes bounds what an answer has.
	answerBytes = 64 << 20
	// workers ask at a time.
	workers = 6
	// pageSize and maxObjects are of one kind.
	pageSize   = 500
	maxObjects = 2000
	maxEvents  = 5000
	// kindBytes bounds the file of one kind.
	kindBytes = 16 << 20
	// controlPlaneLogBytes and podLogBytes are kept of the end of a container's log, logReadBytes read for it.
	controlPlaneLogBytes = 16 << 20
	podLogBytes          = 1 << 20
	logReadBytes         = 64 << 20
	controlPlaneLogLines = 200_000
	podLogLines          = 10_000
	// maxLogs are containers of the tenant whose logs are taken.
	maxLogs = 300
	// reportBytes bounds the whole report.
	reportBytes = 512 << 20
)

// bounded is a configuration whose answers are bounded: an API server that is the tenant's can send what it likes, and
// for ever. Its requests end with ctx: those of discovery take none.
func bounded(ctx context.Context, config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	out.QPS, out.Timeout = -1, requestTimeout
	out.WarningHandler = rest.NoWarnings{}
	out.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return bound{next, func(end func()) (forget func() bool) { return context.AfterFunc(ctx, end) }}
	})
	return out
}

type bound struct {
	next http.RoundTripper
	// atEnd calls a function when the report has to end.
	atEnd func(end func()) (forget func() bool)
}

// WrappedRoundTripper lets client-go find what cancels a request.
func (b bound) WrappedRoundTripper() http.RoundTripper { return b.next }

func (b bound) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(request.Context())
	forget := b.atEnd(cancel)
	answer, err := b.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		forget()
		cancel()
		return nil, err
	}
	answer.Body = &boundBody{answer.Body, answerBytes, func() { forget(); cancel() }}
	return answer, nil
}

type boundBody struct {
	io.ReadCloser
	left int64
	done func()
}

func (b *boundBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

func (b *boundBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer has more than %d MiB", answerBytes>>20)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// tail keeps the last bytes that were written to it.
type tail struct {
	limit int
	kept  []byte
	cut   bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.limit {
		t.trim()
	}
	return len(p), nil
}

func (t *tail) trim() {
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
}

func (t *tail) text() string {
	t.trim()
	if t.cut {
		return fmt.Sprintf("… only the last %d bytes …\n%s", t.limit, t.kept)
	}
	return string(t.kept)
}
