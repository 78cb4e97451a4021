package toolsuites

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"nestling.dev/nestling/e2e/application"
	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/conformance"
)

const (
	helmModule = "helm.sh/helm/v3"
	// The images that upstream's charts name cannot be pulled; these are on the nodes.
	nginxRepository, nginxTag = "registry.k8s.io/e2e-test-images/nginx", "1.15-4"
	busybox                   = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"
	// helmNamespace is made by Helm itself.
	helmNamespace = "helm-flows"
	// flowPatience is for one command of Helm.
	flowPatience = 3 * time.Minute
)

// flow is a use of Helm: commands, each of which must succeed and say something.
type flow struct {
	name  string
	steps []step
}

// step is a command of helm, or of kubectl; CHARTS in its words is the directory of upstream's charts.
type step struct {
	words string
	// says is a text that the output has to have.
	says string
	// refused: it must fail.
	refused bool
}

// helmFlows are run in order, each with what those before it have left.
func helmFlows() []flow {
	const (
		subchart = "CHARTS/subchart"
		library  = "CHARTS/chart-with-lib-dep"
		image    = " --set image.repository=" + nginxRepository + ",image.tag=" + nginxTag
	)
	return []flow{
		{"template --validate asks the API server", []step{{words: "helm template a " + subchart + " --validate", says: "kind: RoleBinding"}}},
		{"install --dry-run=server", []step{
			{words: "helm install a " + subchart + " --create-namespace --skip-crds --dry-run=server", says: "kube-version/version: \"v1."},
			{words: "helm list -q --all"},
		}},
		{"install with subcharts and RBAC, and --wait", []step{
			{words: "helm install a " + subchart + " --create-namespace --skip-crds --wait --timeout 2m", says: "STATUS: deployed"},
			{words: "kubectl get services,serviceaccounts,roles,rolebindings,configmaps -l app.kubernetes.io/instance=a -o name", says: "service/subchart\n"},
		}},
		{"status, get all, get hooks and list", []step{
			{words: "helm status a -o json", says: `"status":"deployed"`},
			{words: "helm get all a", says: "REVISION: 1"},
			{words: "helm get hooks a", says: "helm.sh/hook"},
			{words: "helm list -o yaml", says: "chart: subchart-0.1.0"},
		}},
		{"test --filter runs a hook", []step{{words: "helm test a --filter name=a-testconfig --timeout 2m", says: "STATUS: deployed"}}},
		{"upgrade changes ports of Services", []step{
			{words: "helm upgrade a " + subchart + " --set service.externalPort=8088 --wait --timeout 2m", says: "REVISION: 2"},
			{words: "kubectl get service subchart -o jsonpath={.spec.ports[0].port}", says: "8088"},
		}},
		{"rollback", []step{
			{words: "helm rollback a 1 --wait --timeout 2m", says: "Rollback was a success"},
			{words: "kubectl get service subchart -o jsonpath={.spec.ports[0].port}", says: "80"},
			{words: "helm history a -o json", says: `"revision":3`},
		}},
		{"uninstall --wait leaves nothing", []step{
			{words: "helm uninstall a --wait --timeout 2m", says: "uninstalled"},
			{words: "kubectl get services,roles,rolebindings -l app.kubernetes.io/instance=a", says: "No resources found"},
			{words: "helm status a", refused: true, says: "not found"},
		}},
		{"install --wait of a Deployment waits for its probes", []step{
			{words: "helm install web " + library + image + " --wait --timeout 2m", says: "STATUS: deployed"},
			{words: "kubectl rollout status deployment -l app.kubernetes.io/instance=web --timeout=1s", says: "successfully rolled out"},
		}},
		{"upgrade --reuse-values scales", []step{
			{words: "helm upgrade web " + library + " --reuse-values --set replicaCount=2 --wait --timeout 2m", says: "REVISION: 2"},
			{words: "kubectl get deployment -l app.kubernetes.io/instance=web -o jsonpath={.items[0].status.readyReplicas}", says: "2"},
		}},
		{"upgrade --atomic takes back what never gets ready", []step{
			{words: "helm upgrade web " + library + " --reuse-values --set image.tag=none --atomic --timeout 15s", refused: true, says: "has been rolled back"},
			{words: "helm status web -o json", says: `"status":"deployed"`},
		}},
		{"uninstall --keep-history", []step{
			{words: "helm uninstall web --keep-history --wait --timeout 2m", says: "uninstalled"},
			{words: "helm status web", says: "STATUS: uninstalled"},
			{words: "helm rollback web 1 --wait --timeout 2m", says: "Rollback was a success"},
			{words: "helm uninstall web --wait --timeout 2m", says: "uninstalled"},
		}},
		{"upgrade --install, with a post-renderer, of a Pod", []step{
			{words: "helm upgrade --install alpine CHARTS/alpine --post-renderer IMAGES --wait --timeout 2m", says: "STATUS: deployed"},
			{words: "helm uninstall alpine --wait --timeout 2m", says: "uninstalled"},
		}},
		{"install of NetworkPolicies and a Deployment, in order", []step{
			{words: "helm install order CHARTS/object-order", says: "STATUS: deployed"},
			{words: "kubectl get networkpolicies -o name", says: "networkpolicy.networking.k8s.io/first"},
			{words: "helm uninstall order --wait --timeout 2m", says: "uninstalled"},
		}},
		{"install refuses kinds that the API server does not have", []step{
			{words: "helm install old CHARTS/chart-with-deprecated-api", refused: true, says: "no matches for kind"},
			{words: "helm install crds CHARTS/chart-with-only-crds", refused: true, says: "no matches for kind"}, // v1beta1
		}},
	}
}

// helmSuite builds helm.
func helmSuite(ctx context.Context, root string) (Suite, error) {
	source, version, err := command.Module(ctx, filepath.Join(root, "e2e", "appbins"), helmModule)
	if err != nil {
		return Suite{}, err
	}
	built, err := application.Build(ctx, root)
	if err != nil {
		return Suite{}, err
	}
	charts := filepath.Join(source, "cmd", "helm", "testdata", "testcharts")
	return Suite{
		Name: "helm", Source: helmModule + " " + version,
		What: fmt.Sprintf("%d flows of ours with the charts of Helm's own test data. Helm's repository has no tests for a cluster that is there: "+
			"its Go tests use a client that only prints, and `make test-acceptance` wants a checkout of another repository, helm/acceptance-testing, which is no Go module", len(helmFlows())),
		Pointed: "KUBECONFIG; images of the charts are replaced, by values or a post-renderer, with such as are on the nodes",
		run: func(ctx context.Context, target conformance.Target, _ *regexp.Regexp, dir string) (Results, error) {
			images := filepath.Join(dir, "images.sh")
			script := "#!/bin/sh\n# A post-renderer: the image that the chart names cannot be pulled, and it gives a label a number.\nexec sed -e 's#\"alpine:.*\"#\"" + busybox + "\"#' -e 's#\\(app.kubernetes.io/version:\\) \\(.*\\)#\\1 \"\\2\"#'\n"
			if err := os.WriteFile(images, []byte(script), 0o755); err != nil {
				return nil, err
			}
			words := strings.NewReplacer("CHARTS", charts, "IMAGES", images)
			programs := map[string]string{"helm": built.Helm, "kubectl": filepath.Join(root, "bin", "host", "kubectl")}
			environment := append(os.Environ(), "KUBECONFIG="+target.Kubeconfig, "HELM_NAMESPACE="+helmNamespace)
			for _, kind := range []string{"CACHE", "CONFIG", "DATA"} {
				environment = append(environment, "HELM_"+kind+"_HOME="+filepath.Join(dir, strings.ToLower(kind)))
			}
			results := Results{}
			for _, flow := range helmFlows() {
				begin := time.Now()
				result := conformance.Result{Outcome: conformance.Passed}
				if err := flow.run(ctx, func(ctx context.Context, step step) *exec.Cmd {
					argv := strings.Fields(words.Replace(step.words))
					if argv[0] == "kubectl" {
						argv = append(argv, "--namespace="+helmNamespace)
					}
					command := exec.CommandContext(ctx, programs[argv[0]], argv[1:]...)
					command.Env = environment
					return command
				}); err != nil {
					result = conformance.Result{Outcome: conformance.Failed, Message: err.Error()}
				}
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				result.Seconds = time.Since(begin).Seconds()
				results[flow.name] = result
			}
			return results, nil
		},
	}, nil
}

// run runs the steps; the error is of the first that did not do as it should.
func (f flow) run(ctx context.Context, prepare func(context.Context, step) *exec.Cmd) error {
	for _, step := range f.steps {
		if err := func() error {
			ctx, cancel := context.WithTimeout(ctx, flowPatience)
			defer cancel()
			out, err := prepare(ctx, step).CombinedOutput()
			return step.judge(string(out), err)
		}(); err != nil {
			return fmt.Errorf("%s: %w", step.words, err)
		}
	}
	return nil
}

// judge says what is wrong with how a step ended.
func (s step) judge(out string, ended error) error {
	said := strings.Join(strings.Fields(out), " ")
	switch {
	case ended != nil && !s.refused:
		return fmt.Errorf("%w: %s", ended, said)
	case ended == nil && s.refused:
		return errors.New("succeeded, and should not have")
	case !strings.Contains(out, s.says):
		return fmt.Errorf("does not say %q: %s", s.says, said)
	}
	return nil
}
