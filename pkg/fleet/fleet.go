package fleet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/hostclient"
)

// FieldManager owns on the host what this package applies.
const FieldManager = "nestling-cli"

// Fleet is the tenants of one host.
type Fleet struct {
	config   *rest.Config
	host     kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

// New does not connect.
func New(config *rest.Config) (*Fleet, error) {
	f := &Fleet{config: rest.CopyConfig(config)}
	f.config.QPS = -1 // the host's own fairness is the limit
	var err error
	if f.host, err = kubernetes.NewForConfig(f.config); err == nil {
		if f.dynamic, err = dynamic.NewForConfig(f.config); err == nil {
			f.metadata, err = metadata.NewForConfig(f.config)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("client of the host: %w", err)
	}
	return f, nil
}

// Step is one thing that was done or found on the way.
type Step struct {
	// Text is a sentence without its full stop.
	Text string
	// Since is how long ago the whole began.
	Since time.Duration
	// Warning is something that keeps us waiting, or that was left undone.
	Warning bool
}

// progress tells steps, one at a time; a nil tell is quiet.
type progress struct {
	mu    sync.Mutex
	begin time.Time
	tell  func(Step)
	last  string
}

func begin(tell func(Step)) *progress { return &progress{begin: time.Now(), tell: tell} }

func (p *progress) step(format string, args ...any) { p.say(false, fmt.Sprintf(format, args...)) }
func (p *progress) warn(format string, args ...any) { p.say(true, fmt.Sprintf(format, args...)) }

// say does not repeat itself.
func (p *progress) say(warning bool, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tell != nil && text != p.last {
		p.last = text
		p.tell(Step{Text: text, Since: time.Since(p.begin), Warning: warning})
	}
}

// NotFoundError means that the host has nothing of the tenant, or nothing but volumes that were kept.
type NotFoundError struct {
	Tenant, Namespace string
	KeptVolumes       []string
}

func (e *NotFoundError) Error() string {
	if len(e.KeptVolumes) > 0 {
		return fmt.Sprintf("tenant %q not found in namespace %q; there are volumes that were kept of it, %s: %s",
			e.Tenant, e.Namespace, strings.Join(e.KeptVolumes, ", "), claimAdvice(names(e.Tenant, e.Namespace)))
	}
	return fmt.Sprintf("tenant %q not found in namespace %q", e.Tenant, e.Namespace)
}

// failed is the error of a request to the host.
func (f *Fleet) failed(what string, err error) error {
	return hostclient.Answer(f.config.Host, what, err)
}

// now is the host's clock, which all tenants and callers share; where it does not tell, ours.
func (f *Fleet) now(ctx context.Context) (time.Time, error) {
	return hostclient.Now(ctx, f.config)
}

// optional forgets that something is not there, not served, or not for us to see.
func optional(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	return err
}

// concurrently returns the first error in the order of the tasks.
func concurrently(tasks ...func() error) error {
	errs := make([]error, len(tasks))
	var group sync.WaitGroup
	for i, task := range tasks {
		group.Go(func() { errs[i] = task() })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func names(tenant, namespace string) deploy.Names {
	return deploy.Names{Tenant: tenant, Namespace: namespace}
}

// pollInterval is how often the host is asked where there is no one object to watch.
const pollInterval = 200 * time.Millisecond

// pause returns false when ctx ended first.
func pause(ctx context.Context, interval time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(interval):
		return true
	}
}
