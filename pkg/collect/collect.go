package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/version"
)

// DefaultTimeout bounds a report.
const DefaultTimeout = 2 * time.Minute

// Options say what to collect.
type Options struct {
	Tenant, Namespace string
	// Host reaches the host's API server.
	Host *rest.Config
	// Virtual reaches the tenant's; nil: it cannot be reached, and Unreachable says why.
	Virtual     *rest.Config
	Unreachable error
	// Timeout bounds the whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Reason is why there is a report, if there is one.
	Reason string
}

// Report is its summary.
type Report struct {
	Tenant    string       `json:"tenant"`
	Namespace string       `json:"namespace"`
	At        time.Time    `json:"at"`
	Took      string       `json:"took"`
	Reason    string       `json:"reason,omitempty"`
	Nestling  version.Info `json:"nestling"`
	Host      string       `json:"host,omitempty"`    // versions
	Virtual   string       `json:"virtual,omitempty"` // empty: its API does not answer
	Files     int          `json:"files"`
	Redacted  string       `json:"redacted"`
	// Problems are what could not be had, and why.
	Problems []string `json:"problems"`
}

const redacted = "data of Secrets, former versions in annotations, values of variables, arguments, fields and lines whose name says that they are secret, and recognized tokens, keys and passwords; look through it before you pass it on"

// side is one of the two clusters.
type side struct {
	name      string
	config    *rest.Config
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
}

func newSide(ctx context.Context, name string, config *rest.Config) (*side, error) {
	s := &side{name: name, config: bounded(ctx, config)}
	var err error
	if s.client, err = kubernetes.NewForConfig(s.config); err == nil {
		if s.dynamic, err = dynamic.NewForConfig(s.config); err == nil {
			s.metadata, err = metadata.NewForConfig(s.config)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("client of the %s: %w", name, err)
	}
	s.discovery = s.client.Discovery()
	return s, nil
}

// collector is one collection.
type collector struct {
	names         deploy.Names
	host, virtual *side // virtual is nil if it is dead
	sink          Sink

	mu        sync.Mutex
	report    Report
	bytes     int64
	forbidden map[string][]string // resources, by side
}

// Collect writes a report to sink, which it closes. The error is that of the sink: whatever else fails is in the report.
func Collect(ctx context.Context, o Options, sink Sink) (*Report, error) {
	begin := time.Now()
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c := &collector{
		names: deploy.Names{Tenant: o.Tenant, Namespace: o.Namespace}, sink: sink, forbidden: map[string][]string{},
		report: Report{Tenant: o.Tenant, Namespace: o.Namespace, At: begin.UTC(), Reason: o.Reason, Nestling: version.Get(), Redacted: redacted, Problems: []string{}},
	}
	var err error
	if c.host, err = newSide(ctx, "host", o.Host); err != nil {
		return nil, errors.Join(err, sink.Close())
	}
	if o.Virtual != nil {
		if c.virtual, err = newSide(ctx, "virtual", o.Virtual); err != nil {
			return nil, errors.Join(err, sink.Close())
		}
	} else {
		c.problem("virtual: its API cannot be reached", o.Unreachable)
	}
	c.collect(ctx)
	if ctx.Err() != nil {
		c.problem(fmt.Sprintf("the report is not complete: it took more than %s", o.Timeout), nil)
	}
	c.report.Took = time.Since(begin).Round(time.Millisecond).String()
	for _, name := range slices.Sorted(maps.Keys(c.forbidden)) {
		slices.Sort(c.forbidden[name])
		c.report.Problems = append(c.report.Problems, name+": no right to list "+strings.Join(slices.Compact(c.forbidden[name]), ", "))
	}
	summary, err := json.MarshalIndent(c.report, "", "  ")
	if err == nil {
		err = sink.Add(summaryFile, append(summary, '\n'))
	}
	return &c.report, errors.Join(err, sink.Close())
}

// task is a part of a report.
type task struct {
	what string
	do   func(ctx context.Context) error
}

// collect does first what is most telling, in case that time is short.
func (c *collector) collect(ctx context.Context) {
	c.all(ctx, []task{
		{"host: version", func(context.Context) error { return c.version(c.host, &c.report.Host) }},
		{"host: logs of the control plane", c.controlPlaneLogs},
		{"host: events", func(ctx context.Context) error { return c.events(ctx, c.host, c.names.Namespace, c.ofTenant) }},
	})
	if c.virtual != nil {
		err := c.version(c.virtual, &c.report.Virtual)
		if err != nil {
			c.problem("virtual: its API does not answer", err)
			c.virtual = nil
		}
	}
	tasks := c.hostTasks(ctx)
	if c.virtual != nil {
		tasks = append(tasks, c.virtualTasks(ctx)...)
	}
	c.all(ctx, tasks)
	c.all(ctx, c.podLogTasks(ctx))
}

// all runs tasks side by side. What fails is noted.
func (c *collector) all(ctx context.Context, tasks []task) {
	queue := make(chan task)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for one := range queue {
				if err := one.do(ctx); err != nil {
					c.problem(one.what, err)
				}
			}
		})
	}
	for i, one := range tasks {
		select {
		case queue <- one:
			continue
		case <-ctx.Done():
			c.problem(fmt.Sprintf("%d parts were not begun, the first: %s", len(tasks)-i, one.what), nil)
		}
		break
	}
	close(queue)
	group.Wait()
}

// problem notes what could not be had.
func (c *collector) problem(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		what += ": " + strings.Join(strings.Fields(redactText(err.Error())), " ")
	}
	c.report.Problems = append(c.report.Problems, what)
}

// denied notes a right that is missing, of which there may be many.
func (c *collector) denied(s *side, resource schema.GroupVersionResource, err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forbidden[s.name] = append(c.forbidden[s.name], resource.GroupResource().String())
	return nil
}

// add keeps a file, as long as there is room.
func (c *collector) add(name string, content []byte) error {
	c.mu.Lock()
	c.bytes += int64(len(content))
	full := c.bytes > reportBytes
	if !full {
		c.report.Files++
	}
	c.mu.Unlock()
	if full {
		return fmt.Errorf("the report has more than %d MiB", reportBytes>>20)
	}
	return c.sink.Add(name, content)
}

func (c *collector) version(s *side, to *string) error {
	info, err := s.discovery.ServerVersion()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = info.GitVersion
	return nil
}
