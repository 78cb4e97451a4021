package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/schema"
)

const (
	// skewPeriod is how often the host is asked whether it has become another: one small
	// request. It is asked too when it comes back after it was away.
	skewPeriod = 5 * time.Minute
	// skewRetry is how soon it is asked again if it has not answered.
	skewRetry = 15 * time.Second
	// skewTimeout bounds all requests of one look.
	skewTimeout = 30 * time.Second
)

// skew knows what the host does not: it may be older than the virtual cluster, and would
// drop fields without a word. What it drops is taken off before anything is compared.
type skew struct {
	virtual, host rest.Interface
	kinds         func() []*syncedKind
	again         chan struct{} // the host is back; holds one
	looked        chan struct{} // closed after the first look

	pruners atomic.Pointer[map[runtimeschema.GroupVersionResource]*schema.Pruner]
	last    string            // version of the host at the last look
	places  map[string]string // by group version: address of its document, with a hash
}

func newSkew(virtual, host *rest.Config, kinds func() []*syncedKind) (*skew, error) {
	s := &skew{kinds: kinds, again: make(chan struct{}, 1), looked: make(chan struct{}), places: map[string]string{}}
	s.pruners.Store(&map[runtimeschema.GroupVersionResource]*schema.Pruner{})
	for to, config := range map[*rest.Interface]*rest.Config{&s.virtual: virtual, &s.host: host} {
		config = rest.CopyConfig(config)
		config.GroupVersion = &runtimeschema.GroupVersion{}
		config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
		config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
		client, err := rest.UnversionedRESTClientFor(config)
		if err != nil {
			return nil, fmt.Errorf("discovery client: %w", err)
		}
		*to = client
	}
	return s, nil
}

// wrap is a kind whose translations have only what the host knows.
func (s *skew) wrap(kind resource.Kind) resource.Kind {
	if kind.Direction != resource.ToHost {
		return kind
	}
	translate := kind.ToHost
	kind.ToHost = func(env resource.Env, virtual resource.Object) (resource.Object, error) {
		desired, err := translate(env, virtual)
		if err != nil || desired == nil {
			return desired, err
		}
		return s.pruner(kind).Prune(desired), nil
	}
	return kind
}

func (s *skew) pruner(kind resource.Kind) *schema.Pruner { return (*s.pruners.Load())[kind.Resource] }

// run looks at the host now and then until ctx ends.
func (s *skew) run(ctx context.Context) {
	for first := true; ; first = false {
		wait := skewPeriod
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			wait = skewRetry
			klog.FromContext(ctx).Error(err, "Can't find out which fields the host knows; all are written to it")
		}
		if first {
			close(s.looked)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.again:
		case <-time.After(wait):
		}
	}
}

// hostIsBack has the host looked at again: it may have been upgraded.
func (s *skew) hostIsBack() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// look compares the host with the virtual cluster, and has what is affected looked at
// again where the host has become another.
func (s *skew) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, skewTimeout)
	defer cancel()
	virtual, _, err := versionOf(ctx, s.virtual)
	if err != nil {
		return fmt.Errorf("version of the virtual cluster: %w", err)
	}
	host, text, err := versionOf(ctx, s.host)
	if err != nil {
		return fmt.Errorf("version of the host: %w", err)
	}
	if text != s.last {
		s.last, s.places = text, map[string]string{}
	}
	// Go types have the fields of the virtual cluster's version: a host that is not older
	// knows them all. What a custom resource has is known to its definition only.
	old := virtual == nil || host == nil || host.LessThan(virtual)
	var index struct {
		Paths map[string]struct {
			Address string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	pruners := *s.pruners.Load()
	changed := map[*syncedKind]*schema.Pruner{}
	for _, group := range s.groups(old) {
		if index.Paths == nil {
			if err := s.get(ctx, "/openapi/v3", &index); err != nil {
				return fmt.Errorf("OpenAPI documents of the host: %w", err)
			}
		}
		path := apiPath(group.version)
		address := index.Paths[path].Address
		if address == "" || address == s.places[path] {
			continue
		}
		if err := s.read(ctx, address, group, changed); err != nil {
			return fmt.Errorf("OpenAPI document %s of the host: %w", path, err)
		}
		s.places[path] = address
	}
	s.publish(ctx, pruners, changed, old)
	return nil
}

// group is the kinds of one group version that go to the host.
type group struct {
	version runtimeschema.GroupVersion
	kinds   []*syncedKind
}

func (s *skew) groups(all bool) []*group {
	var out []*group
	byVersion := map[runtimeschema.GroupVersion]*group{}
	for _, kind := range s.kinds() {
		if kind.Direction != resource.ToHost || !all && !kind.Custom {
			continue
		}
		version := kind.Resource.GroupVersion()
		if byVersion[version] == nil {
			byVersion[version] = &group{version: version}
			out = append(out, byVersion[version])
		}
		byVersion[version].kinds = append(byVersion[version].kinds, kind)
	}
	return out
}

// read makes the pruners of a group from its document, which is not kept.
func (s *skew) read(ctx context.Context, address string, group *group, into map[*syncedKind]*schema.Pruner) error {
	text, err := s.host.Get().RequestURI(address).SetHeader("Accept", runtime.ContentTypeJSON).DoRaw(ctx)
	if err != nil {
		return err
	}
	var wanted []runtimeschema.GroupVersionKind
	for _, kind := range group.kinds {
		wanted = append(wanted, group.version.WithKind(kind.Name))
	}
	nodes, err := schema.Parse(text, wanted...)
	if err != nil {
		return err
	}
	for _, kind := range group.kinds {
		into[kind] = schema.NewPruner(kind.New(), nodes[group.version.WithKind(kind.Name)])
	}
	return nil
}

// publish puts the changed pruners in force. A host that is not old any more needs none
// but those of custom resources.
func (s *skew) publish(ctx context.Context, before map[runtimeschema.GroupVersionResource]*schema.Pruner, changed map[*syncedKind]*schema.Pruner, old bool) {
	after := map[runtimeschema.GroupVersionResource]*schema.Pruner{}
	for _, kind := range s.kinds() {
		if pruner := before[kind.Resource]; pruner != nil && (old || kind.Custom) {
			after[kind.Resource] = pruner
		}
		if pruner, ok := changed[kind]; ok {
			delete(after, kind.Resource)
			if pruner != nil {
				after[kind.Resource] = pruner
			}
		}
	}
	s.pruners.Store(&after)
	for _, kind := range s.kinds() {
		if (after[kind.Resource] != before[kind.Resource]) && kind.virtualInformer != nil {
			if after[kind.Resource] != nil && !kind.Custom {
				klog.FromContext(ctx).Info("The host is older than this cluster; fields that it does not know are left out", "resource", kind.Resource.Resource, "fields", after[kind.Resource].Lacks())
			}
			kind.futile.Clear()
			for _, object := range kind.virtualInformer.GetStore().List() {
				kind.queue.Add(resource.KeyOf(object.(resource.Object)))
			}
		}
	}
}

func (s *skew) get(ctx context.Context, path string, into any) error {
	text, err := s.host.Get().AbsPath(path).SetHeader("Accept", runtime.ContentTypeJSON).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// versionOf is the version of a server by major and minor number, nil if it does not tell
// one, and the whole of it as text.
func versionOf(ctx context.Context, server rest.Interface) (*version.Version, string, error) {
	text, err := server.Get().AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return nil, "", err
	}
	var info apiversion.Info
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, "", err
	}
	digits := func(in string) string { return strings.TrimRight(in, "+") }
	parsed, err := version.ParseGeneric(digits(info.Major) + "." + digits(info.Minor))
	if err != nil {
		parsed = nil
	}
	return parsed, info.GitVersion, nil
}
