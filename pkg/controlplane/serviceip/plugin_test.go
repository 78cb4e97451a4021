package serviceip

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // defaults and conversions
	"sigs.k8s.io/yaml"
)

// fakeHost allocates like a host with one free address of each sort.
type fakeHost struct {
	asked  []*corev1.Service
	dryRun []bool
	err    error
	dual   bool
}

func (f *fakeHost) Allocate(_ context.Context, virtual *corev1.Service, dryRun bool) (*corev1.Service, error) {
	f.asked, f.dryRun = append(f.asked, virtual), append(f.dryRun, dryRun)
	if f.err != nil {
		return nil, f.err
	}
	host := virtual.DeepCopy()
	host.Name, host.Namespace = "host-"+virtual.Name, "hosts"
	if host.Spec.ClusterIP == "" {
		host.Spec.ClusterIP = "10.96.1.1"
	}
	if len(host.Spec.ClusterIPs) == 0 {
		host.Spec.ClusterIPs = []string{host.Spec.ClusterIP}
	}
	if policy := host.Spec.IPFamilyPolicy; policy == nil {
		host.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicySingleStack)
	} else if *policy != corev1.IPFamilyPolicySingleStack && f.dual {
		host.Spec.ClusterIPs = []string{host.Spec.ClusterIP, "fd00::1"}
	}
	for i := range host.Spec.Ports {
		if port := &host.Spec.Ports[i]; host.Spec.Type != corev1.ServiceTypeClusterIP && port.NodePort == 0 &&
			(host.Spec.AllocateLoadBalancerNodePorts == nil || *host.Spec.AllocateLoadBalancerNodePorts) {
			port.NodePort = 30000 + port.Port
		}
	}
	if host.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && host.Spec.Type == corev1.ServiceTypeLoadBalancer && host.Spec.HealthCheckNodePort == 0 {
		host.Spec.HealthCheckNodePort = 31999
	}
	return host, nil
}

// parse is the internal Service, with defaults, of a name and a spec as users write it.
func parse(t testing.TB, name, spec string) *api.Service {
	t.Helper()
	versioned := &corev1.Service{}
	require.NoError(t, yaml.UnmarshalStrict([]byte("spec: "+spec), versioned))
	versioned.Name, versioned.Namespace = name, "default"
	legacyscheme.Scheme.Default(versioned)
	internal := &api.Service{}
	require.NoError(t, legacyscheme.Scheme.Convert(versioned, internal, nil))
	return internal
}

func attributes(object, old *api.Service, operation admission.Operation, dryRun bool) admission.Attributes {
	var oldObject runtime.Object
	if old != nil {
		oldObject = old
	}
	return admission.NewAttributesRecord(object, oldObject, corev1.SchemeGroupVersion.WithKind("Service"), "default", object.Name,
		corev1.SchemeGroupVersion.WithResource("services"), "", operation, nil, dryRun, &user.DefaultInfo{Name: "someone"})
}

func plugin(host Allocator, families ...corev1.IPFamily) *Plugin {
	plugin := New(Options{Allocator: func() Allocator { return host }, Families: families})
	plugin.exists = func(context.Context, string, string) (bool, error) { return false, nil }
	return plugin
}

// allocated is what the plugin is for.
type allocated struct {
	IP                  string
	IPs                 []string
	Families            []api.IPFamily
	Policy              api.IPFamilyPolicy
	NodePorts           []int32
	HealthCheckNodePort int32
}

func allocatedOf(service *api.Service) allocated {
	out := allocated{IP: service.Spec.ClusterIP, IPs: service.Spec.ClusterIPs, Families: service.Spec.IPFamilies, HealthCheckNodePort: service.Spec.HealthCheckNodePort}
	if service.Spec.IPFamilyPolicy != nil {
		out.Policy = *service.Spec.IPFamilyPolicy
	}
	for _, port := range service.Spec.Ports {
		if port.NodePort != 0 {
			out.NodePorts = append(out.NodePorts, port.NodePort)
		}
	}
	return out
}

const single, ipv4, ipv6 = api.IPFamilyPolicySingleStack, api.IPv4Protocol, api.IPv6Protocol

func TestCreate(t *testing.T) {
	t.Parallel()
	oneIP := allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1"}, Families: []api.IPFamily{ipv4}, Policy: single}
	with := func(nodePorts []int32, healthCheck int32) allocated {
		out := oneIP
		out.NodePorts, out.HealthCheckNodePort = nodePorts, healthCheck
		return out
	}
	for name, test := range map[string]struct {
		spec     string
		families []corev1.IPFamily
		asked    bool
		want     allocated
	}{
		"ClusterIP":    {spec: `{ports: [{port: 80}]}`, asked: true, want: oneIP},
		"NodePort":     {spec: `{type: NodePort, ports: [{port: 80}]}`, asked: true, want: with([]int32{30080}, 0)},
		"LoadBalancer": {spec: `{type: LoadBalancer, ports: [{port: 80}]}`, asked: true, want: with([]int32{30080}, 0)},
		"LoadBalancer with health checks": {
			spec: `{type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}`, asked: true, want: with([]int32{30080}, 31999),
		},
		"LoadBalancer without node ports": {
			spec: `{type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]}`, asked: true, want: oneIP,
		},
		"several ports, one asked for": {
			spec:  `{type: NodePort, ports: [{name: a, port: 80}, {name: b, port: 53, protocol: UDP, nodePort: 31000}, {name: c, port: 53}]}`,
			asked: true, want: with([]int32{30080, 31000, 30053}, 0),
		},
		"an address that the user asks for": {
			spec: `{clusterIP: 10.96.7.7, ports: [{port: 80}]}`, asked: true, want: allocated{IP: "10.96.7.7"}, // the rest is upstream's
		},
		"two stacks": {
			spec: `{ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}`, asked: true,
			want: allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1", "fd00::1"}, Families: []api.IPFamily{ipv4, ipv6}, Policy: api.IPFamilyPolicyPreferDualStack},
		},
		"two stacks, of which the cluster has one": {
			spec: `{ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}`, families: []corev1.IPFamily{corev1.IPv4Protocol}, asked: true,
			want: allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1"}, Families: []api.IPFamily{ipv4}, Policy: api.IPFamilyPolicyPreferDualStack},
		},
		"headless":                        {spec: `{clusterIP: None, ports: [{port: 80}]}`, want: allocated{IP: "None"}},
		"headless, in the plural":         {spec: `{clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}`, want: allocated{IP: "None", IPs: []string{"None"}}},
		"ExternalName":                    {spec: `{type: ExternalName, externalName: example.com}`},
		"invalid: no ports":               {spec: `{}`},
		"invalid: port":                   {spec: `{ports: [{port: 0}]}`},
		"invalid: node port of ClusterIP": {spec: `{ports: [{port: 80, nodePort: 30000}]}`, want: allocated{NodePorts: []int32{30000}}},
		"invalid: selector":               {spec: `{selector: {"a b": c}, ports: [{port: 80}]}`},
		"invalid: type":                   {spec: `{type: Magic, ports: [{port: 80}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, dryRun := range []bool{false, true} {
				host := &fakeHost{dual: true}
				service := parse(t, "web", test.spec)
				before := service.DeepCopy()
				require.NoError(t, plugin(host, test.families...).Admit(t.Context(), attributes(service, nil, admission.Create, dryRun), nil))
				if test.asked {
					require.Equal(t, []bool{dryRun}, host.dryRun)
					require.Equal(t, "default/web", host.asked[0].Namespace+"/"+host.asked[0].Name)
				} else {
					require.Empty(t, host.asked)
					require.Empty(t, cmp.Diff(before, service))
				}
				if dryRun {
					require.Empty(t, cmp.Diff(before, service), "placeholders are this cluster's own")
				} else {
					require.Empty(t, cmp.Diff(test.want, allocatedOf(service)))
				}
			}
		})
	}
}

func TestGeneratedNamesAreChosenBeforeTheHostIsAsked(t *testing.T) {
	t.Parallel()
	host := &fakeHost{}
	service := parse(t, "", `{ports: [{port: 80}]}`)
	service.GenerateName = "web-"
	plugin := plugin(host)
	plugin.exists = func(context.Context, string, string) (bool, error) { return false, errors.New("not to be asked") }
	require.NoError(t, plugin.Admit(t.Context(), attributes(service, nil, admission.Create, false), nil))
	require.Regexp(t, regexp.MustCompile(`^web-[a-z0-9]{5}$`), service.Name)
	require.Equal(t, service.Name, host.asked[0].Name)
	require.Equal(t, "10.96.1.1", service.Spec.ClusterIP)
}

func TestInvalidGeneratedNamesAreLeftToTheServer(t *testing.T) {
	t.Parallel()
	host := &fakeHost{}
	service := parse(t, "", `{ports: [{port: 80}]}`)
	service.GenerateName = "Not_A_Name"
	require.NoError(t, plugin(host).Admit(t.Context(), attributes(service, nil, admission.Create, false), nil))
	require.Empty(t, service.Name)
	require.Empty(t, host.asked)
}

func TestMetadataOfACreateIsTheUsers(t *testing.T) {
	t.Parallel()
	host := &fakeHost{}
	service := parse(t, "web", `{ports: [{port: 80}]}`)
	service.Labels, service.Annotations = map[string]string{"a": "b"}, map[string]string{"c": "d"}
	service.UID, service.ResourceVersion, service.ManagedFields = "not-yet", "7", []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	require.NoError(t, plugin(host).Admit(t.Context(), attributes(service, nil, admission.Create, false), nil))
	require.Empty(t, cmp.Diff(metav1.ObjectMeta{
		Name: "web", Namespace: "default", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
	}, host.asked[0].ObjectMeta), "no UID: by that the allocator knows a create")
}

func TestServicesThatAreLeftAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(plugin *Plugin, service *api.Service) admission.Attributes
		err    string
	}{
		"default/kubernetes": {change: func(_ *Plugin, service *api.Service) admission.Attributes {
			service.Name = "kubernetes"
			return attributes(service, nil, admission.Create, false)
		}},
		"one that exists": {change: func(plugin *Plugin, service *api.Service) admission.Attributes {
			plugin.exists = func(_ context.Context, namespace, name string) (bool, error) {
				return namespace == "default" && name == "web", nil
			}
			return attributes(service, nil, admission.Create, false)
		}},
		"one of which nobody knows whether it exists": {change: func(plugin *Plugin, service *api.Service) admission.Attributes {
			plugin.exists = func(context.Context, string, string) (bool, error) { return false, errors.New("storage is down") }
			return attributes(service, nil, admission.Create, false)
		}, err: "Internal error occurred: storage is down"},
		"the status": {change: func(_ *Plugin, service *api.Service) admission.Attributes {
			return admission.NewAttributesRecord(service, service, corev1.SchemeGroupVersion.WithKind("Service"), "default", "web",
				corev1.SchemeGroupVersion.WithResource("services"), "status", admission.Update, nil, false, nil)
		}},
		"another kind": {change: func(_ *Plugin, service *api.Service) admission.Attributes {
			return admission.NewAttributesRecord(&api.Pod{}, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "default", "web",
				corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, nil, false, nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := &fakeHost{}
			service := parse(t, "web", `{ports: [{port: 80}]}`)
			plugin := plugin(host)
			err := plugin.Admit(t.Context(), test.change(plugin, service), nil)
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, test.err)
			}
			require.Empty(t, host.asked)
			require.Empty(t, service.Spec.ClusterIP)
		})
	}
}

func TestKubernetesInAnotherNamespaceIsOrdinary(t *testing.T) {
	t.Parallel()
	host := &fakeHost{}
	service := parse(t, "kubernetes", `{ports: [{port: 80}]}`)
	service.Namespace = "other"
	request := admission.NewAttributesRecord(service, nil, corev1.SchemeGroupVersion.WithKind("Service"), "other", "kubernetes",
		corev1.SchemeGroupVersion.WithResource("services"), "", admission.Create, nil, false, nil)
	require.NoError(t, plugin(host).Admit(t.Context(), request, nil))
	require.Len(t, host.asked, 1)
}

func TestRefusalsOfTheHostAreTheUsers(t *testing.T) {
	t.Parallel()
	quota := apierrors.NewForbidden(api.Resource("services"), "web", errors.New("exceeded quota: q"))
	service := parse(t, "web", `{ports: [{port: 80}]}`)
	err := plugin(&fakeHost{err: quota}).Admit(t.Context(), attributes(service, nil, admission.Create, false), nil)
	require.Equal(t, quota, err)
	require.Empty(t, service.Spec.ClusterIP)
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	const ip = `clusterIP: 10.96.1.1, clusterIPs: [10.96.1.1], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack`
	clusterIP := `{` + ip + `, ports: [{name: a, port: 80}]}`
	nodePort := `{type: NodePort, ` + ip + `, ports: [{name: a, port: 80, nodePort: 30080}]}`
	for name, test := range map[string]struct {
		old, new string
		asked    bool
		want     allocated // of the request; what it leaves out is upstream's
	}{
		"nothing":                        {old: clusterIP, new: clusterIP, want: allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1"}, Families: []api.IPFamily{ipv4}, Policy: single}},
		"a file without addresses":       {old: nodePort, new: `{type: NodePort, ports: [{name: a, port: 80}]}`, want: allocated{}},
		"a selector":                     {old: clusterIP, new: `{selector: {a: b}, ports: [{name: a, port: 80}]}`},
		"a port more":                    {old: clusterIP, new: `{ports: [{name: a, port: 80}, {name: b, port: 81}]}`},
		"a node port more":               {old: nodePort, new: `{type: NodePort, ports: [{name: a, port: 80}, {name: b, port: 81}]}`, asked: true, want: allocated{NodePorts: []int32{30081}}},
		"a node port of the user's":      {old: nodePort, new: `{type: NodePort, ports: [{name: a, port: 80, nodePort: 31000}]}`, asked: true, want: allocated{NodePorts: []int32{31000}}},
		"external IPs":                   {old: clusterIP, new: `{externalIPs: [203.0.113.1], ports: [{name: a, port: 80}]}`, asked: true},
		"a port's number":                {old: nodePort, new: `{type: NodePort, ports: [{name: a, port: 8080}]}`},
		"ClusterIP to NodePort":          {old: clusterIP, new: `{type: NodePort, ports: [{name: a, port: 80}]}`, asked: true, want: allocated{NodePorts: []int32{30080}}},
		"NodePort to LoadBalancer":       {old: nodePort, new: `{type: LoadBalancer, ports: [{name: a, port: 80}]}`},
		"NodePort to ClusterIP":          {old: nodePort, new: `{ports: [{name: a, port: 80}]}`},
		"NodePort to ClusterIP, patched": {old: nodePort, new: `{type: ClusterIP, ` + ip + `, ports: [{name: a, port: 80, nodePort: 30080}]}`, want: allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1"}, Families: []api.IPFamily{ipv4}, Policy: single, NodePorts: []int32{30080}}},
		"ClusterIP to LoadBalancer with health checks": {
			old: clusterIP, new: `{type: LoadBalancer, externalTrafficPolicy: Local, ports: [{name: a, port: 80}]}`, asked: true,
			want: allocated{NodePorts: []int32{30080}, HealthCheckNodePort: 31999},
		},
		"health checks": {
			old: `{type: LoadBalancer, ` + ip + `, ports: [{name: a, port: 80, nodePort: 30080}]}`, new: `{type: LoadBalancer, externalTrafficPolicy: Local, ports: [{name: a, port: 80}]}`, asked: true,
			want: allocated{HealthCheckNodePort: 31999},
		},
		"ExternalName to ClusterIP": {
			old: `{type: ExternalName, externalName: example.com}`, new: `{type: ClusterIP, ports: [{port: 80}]}`, asked: true,
			want: allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1"}, Families: []api.IPFamily{ipv4}, Policy: single},
		},
		"ExternalName to headless":        {old: `{type: ExternalName, externalName: example.com}`, new: `{clusterIP: None, ports: [{port: 80}]}`, want: allocated{IP: "None"}},
		"ClusterIP to ExternalName":       {old: clusterIP, new: `{type: ExternalName, externalName: example.com}`},
		"headless stays":                  {old: `{clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}`, new: `{clusterIP: None, ports: [{port: 81}]}`, want: allocated{IP: "None"}},
		"headless, address left out":      {old: `{clusterIP: None, clusterIPs: [None], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, ports: [{port: 80}]}`, new: `{ports: [{port: 81}]}`},
		"invalid: another address":        {old: clusterIP, new: `{clusterIP: 10.96.1.2, type: NodePort, ports: [{name: a, port: 80}]}`, want: allocated{IP: "10.96.1.2"}},
		"LoadBalancer to NodePort, class": {old: `{type: LoadBalancer, loadBalancerClass: example.com/x, ` + ip + `, ports: [{name: a, port: 80, nodePort: 30080}]}`, new: `{type: NodePort, loadBalancerClass: example.com/x, allocateLoadBalancerNodePorts: true, ports: [{name: a, port: 80}, {name: b, port: 81}]}`, asked: true, want: allocated{NodePorts: []int32{30081}}},
		"one stack to two": {
			old: clusterIP, new: `{clusterIP: 10.96.1.1, clusterIPs: [10.96.1.1], ipFamilyPolicy: PreferDualStack, ports: [{name: a, port: 80}]}`, asked: true,
			want: allocated{IP: "10.96.1.1", IPs: []string{"10.96.1.1", "fd00::1"}, Families: []api.IPFamily{ipv4, ipv6}, Policy: api.IPFamilyPolicyPreferDualStack},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := &fakeHost{dual: true}
			old, service := parse(t, "web", test.old), parse(t, "web", test.new)
			old.UID, old.ResourceVersion = "uid-1", "5"
			before := service.DeepCopy()
			require.NoError(t, plugin(host).Admit(t.Context(), attributes(service, old, admission.Update, false), nil))
			if test.asked {
				require.Equal(t, []bool{false}, host.dryRun)
				require.Equal(t, "uid-1", string(host.asked[0].UID), "by which the allocator knows an update")
			} else {
				require.Empty(t, host.asked)
				require.Empty(t, cmp.Diff(before, service))
			}
			require.Empty(t, cmp.Diff(test.want, allocatedOf(service)))
		})
	}
}

func TestAnUpdateThatConflictsDoesNotReachTheHost(t *testing.T) {
	t.Parallel()
	host := &fakeHost{}
	old, service := parse(t, "web", `{ports: [{port: 80}]}`), parse(t, "web", `{type: NodePort, ports: [{port: 80}]}`)
	old.ResourceVersion, service.ResourceVersion = "5", "4"
	require.NoError(t, plugin(host).Admit(t.Context(), attributes(service, old, admission.Update, false), nil))
	require.Empty(t, host.asked)
}

func TestInitialization(t *testing.T) {
	t.Parallel()
	require.EqualError(t, New(Options{}).ValidateInitialization(), "NestlingServiceIP: no allocator")
	plugin := New(Options{Allocator: func() Allocator { return nil }})
	require.EqualError(t, plugin.ValidateInitialization(), "NestlingServiceIP: no client")
	require.True(t, plugin.Handles(admission.Create) && plugin.Handles(admission.Update))
	require.False(t, plugin.Handles(admission.Delete))

	plugins := admission.NewPlugins()
	Register(plugins, Options{})
	require.Equal(t, []string{PluginName}, plugins.Registered())
}
