package controlplane

import (
	"context"
	"sync"
	"time"
	"weak"

	apiextensionsscheme "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/scheme"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/controller/validatingadmissionpolicystatus"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

const (
	policyStatusWorkers = 5 // upstream's default
	// policyStatusDiscovery is how long an answer about what the API serves is believed.
	policyStatusDiscovery = 30 * time.Second
)

// runPolicyStatus is upstream's controller, but for the schemas of all built-in types,
// which upstream makes at the start and holds for good: 7 MB, for policies that hardly a
// tenant has. Here they are there while a policy is looked at.
func runPolicyStatus(ctx context.Context, clientConfig *rest.Config) error {
	client, err := kubernetes.NewForConfig(clientConfig)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := validatingadmissionpolicystatus.NewController(
		factory.Admissionregistration().V1().ValidatingAdmissionPolicies(),
		client.AdmissionregistrationV1().ValidatingAdmissionPolicies(),
		&validating.TypeChecker{
			SchemaResolver: &builtinSchemas{others: &resolver.ClientDiscoveryResolver{Discovery: client.Discovery()}},
			RestMapper:     mapper,
		})
	if err != nil {
		return err
	}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	var resetting sync.WaitGroup
	resetting.Go(func() {
		wait.UntilWithContext(ctx, func(context.Context) { mapper.Reset() }, policyStatusDiscovery)
	})
	defer resetting.Wait()
	controller.Run(ctx, policyStatusWorkers)
	return nil
}

// builtinSchemas makes the schemas of built-in types when one is wanted, and holds them
// until the next garbage collection.
type builtinSchemas struct {
	others resolver.SchemaResolver // of what is not built in

	mu   sync.Mutex
	made weak.Pointer[resolver.DefinitionsSchemaResolver]
}

var _ resolver.SchemaResolver = &builtinSchemas{}

// ResolveSchema is part of resolver.SchemaResolver.
func (b *builtinSchemas) ResolveSchema(gvk schema.GroupVersionKind) (*spec.Schema, error) {
	return b.definitions().Combine(b.others).ResolveSchema(gvk)
}

func (b *builtinSchemas) definitions() *resolver.DefinitionsSchemaResolver {
	b.mu.Lock()
	defer b.mu.Unlock()
	if made := b.made.Value(); made != nil {
		return made
	}
	made := resolver.NewDefinitionsSchemaResolver(openapi.GetOpenAPIDefinitions, scheme.Scheme, apiextensionsscheme.Scheme)
	b.made = weak.Make(made)
	return made
}
