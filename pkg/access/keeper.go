package access

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
)

const (
	// checkInterval is how often the Secrets are looked at when nothing is known to have changed: somebody may have
	// removed one.
	checkInterval = time.Minute
	// retryInterval is the time after a failure.
	retryInterval = 10 * time.Second
)

// Options of a Keeper.
type Options struct {
	Host  kubernetes.Interface
	Names deploy.Names
	Owner metav1.OwnerReference // the tenant's anchor
	PKI   *pki.Bundle

	// Exposure is how the API is reached, and Service the host Service in front of it.
	Exposure config.Exposure
	Service  string
	// FixedURL is the URL where the configuration says all of it, and InClusterURL that inside the host cluster.
	FixedURL, InClusterURL string

	// SANs are the names that the serving certificate has in any case, and SetSANs gives it more.
	SANs    []string
	SetSANs func([]string) error

	// Kubeconfigs are those beside the administrator's.
	Kubeconfigs []config.Kubeconfig
	// Virtual connects to the tenant's API, for ServiceAccounts and roles.
	Virtual func() (kubernetes.Interface, error)

	// Expires is told when the administrator's certificate would end; nil: nobody is.
	Expires func(time.Time)

	Clock clock.Clock // default: the real one
}

// Keeper keeps the Secrets.
type Keeper struct {
	opts    Options
	of      string // the mark of our Secrets
	virtual kubernetes.Interface

	current  string   // the URL that clients have
	location Location // what was acted upon
	said     string   // the last problem in the log, so that each is there once
	tidied   bool     // Secrets of entries that are no more are gone
	unbound  bool     // and so are bindings
}

// New makes a Keeper. Nothing happens before Run.
func New(opts Options) *Keeper {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &Keeper{opts: opts, of: opts.Names.KubeconfigOf()}
}

// Run keeps the Secrets until ctx ends. It is ready when the administrator's is right, or waits for nothing but an
// address of the host's; a first attempt that fails ends it.
func (k *Keeper) Run(ctx context.Context, ready func()) error {
	watch, err := k.watch(ctx)
	if err != nil {
		return err
	}
	defer watch.stop()
	if err := k.recall(ctx); err != nil {
		return err
	}
	if k.virtual, err = k.opts.Virtual(); err != nil {
		return err
	}
	location := k.locate(watch)
	if _, err := k.keepAdmin(ctx, location); err != nil {
		return err
	}
	ready()
	for {
		timer := k.opts.Clock.NewTimer(k.keep(ctx, location))
		for {
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-watch.changed:
				location = k.locate(watch)
				if reflect.DeepEqual(location, k.location) {
					continue // nodes tell of themselves every few minutes
				}
			case <-timer.C():
				location = k.locate(watch)
			}
			break
		}
		timer.Stop()
	}
}

// recall finds the URL that clients have from an earlier life of this process.
func (k *Keeper) recall(ctx context.Context) error {
	secret, err := k.opts.Host.CoreV1().Secrets(k.opts.Names.Namespace).Get(ctx, k.opts.Names.Kubeconfig(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read host Secret %s/%s: %w", k.opts.Names.Namespace, k.opts.Names.Kubeconfig(), err)
	}
	if owned(secret, k.opts.Owner) {
		k.current = secret.Annotations[serverAnnotation]
	}
	return nil
}

func (k *Keeper) locate(watch *watch) Location {
	return Locate(k.opts.Exposure, k.opts.FixedURL, k.current, watch.surroundings())
}

// keep makes everything right, and returns when to look again. What cannot be done is in the log, and tried again.
func (k *Keeper) keep(ctx context.Context, location Location) time.Duration {
	now := k.opts.Clock.Now()
	next := now.Add(checkInterval)
	admin, err := k.keepAdmin(ctx, location)
	errs := []error{err}
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	sooner(admin.renew)
	if !k.tidied {
		err := k.tidy(ctx)
		k.tidied = err == nil
		errs = append(errs, err)
	}
	errs = append(errs, k.keepBindings(ctx))
	for i, entry := range k.opts.Kubeconfigs {
		server := k.current
		if entry.InCluster {
			server = k.opts.InClusterURL
		}
		one, err := k.keepSecret(ctx, entry, server)
		if err != nil {
			err = fmt.Errorf("kubeconfigs[%d]: %w", i, err)
		}
		errs = append(errs, err)
		sooner(one.renew)
	}
	if err := utilerrors.NewAggregate(errs); k.say(ctx, err) {
		return retryInterval
	}
	return max(next.Sub(now), retryInterval)
}

// say logs a problem when it is new, and tells whether there is one.
func (k *Keeper) say(ctx context.Context, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != k.said && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Cannot write all kubeconfigs yet")
	}
	k.said = text
	return err != nil
}

// keepAdmin gives the serving certificate its names first, so that a URL is never there before the certificate for it.
func (k *Keeper) keepAdmin(ctx context.Context, location Location) (life, error) {
	server := location.URL
	if server == "" {
		if location.Missing != k.location.Missing {
			klog.FromContext(ctx).Info("The way to the API from outside is not there yet", "type", k.opts.Exposure.Kind(), "missing", location.Missing)
		}
		server = k.current
	}
	names := slices.Concat(k.opts.SANs, location.Names)
	if host := hostOf(server); host != "" {
		names = append(names, host)
	}
	if err := k.opts.SetSANs(names); err != nil {
		return life{}, err
	}
	if server != k.current {
		klog.FromContext(ctx).Info("The API is reached from outside", "server", server)
	}
	k.location, k.current = location, server
	out, err := k.keepSecret(ctx, config.Kubeconfig{
		Secret: config.ObjectRef{Namespace: k.opts.Names.Namespace, Name: k.opts.Names.Kubeconfig()},
		Format: config.FormatKubeconfig, ClusterName: k.opts.Names.Tenant,
	}, server)
	if err == nil && k.opts.Expires != nil {
		k.opts.Expires(out.end)
	}
	return out, err
}
