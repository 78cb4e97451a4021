package toolsuites

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/conformance"
)

const (
	kubernetesModule = "k8s.io/kubernetes"
	// functionPatience is for one of upstream's functions, in seconds: pods end in 30.
	functionPatience = 300
	// administratorName is of the account that the tests use.
	administratorName = "tool-suites"
	// tokenSeconds outlast a run.
	tokenSeconds = 12 * 3600
)

//go:embed kubectl.sh
var kubectlScript []byte

// kubectlSuite builds what upstream's tests need besides kubectl itself.
func kubectlSuite(ctx context.Context, root string, reasons *Reasons) (Suite, error) {
	nested := filepath.Join(root, "e2e", "conformancebins")
	source, version, err := command.Module(ctx, nested, kubernetesModule)
	if err != nil {
		return Suite{}, err
	}
	convert := filepath.Join(root, "bin", "tools", "kubectl-convert")
	if _, err := command.Go(ctx, nested, "build", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+version, "-o", convert, kubernetesModule+"/cmd/kubectl-convert"); err != nil {
		return Suite{}, fmt.Errorf("build kubectl-convert: %w", err)
	}
	const name = "kubectl"
	driver, err := os.ReadFile(filepath.Join(source, "test", "cmd", "legacy-script.sh"))
	if err != nil {
		return Suite{}, err
	}
	functions := functionsOf(string(driver))
	var excluded []string
	for _, function := range functions {
		if reasons.excluded(name, function) != "" {
			excluded = append(excluded, function)
		}
	}
	return Suite{
		Name: name, Source: kubernetesModule + " " + version + ", test/cmd",
		What: fmt.Sprintf("upstream's integration tests of kubectl: the %d shell functions that legacy-script.sh calls, and what it checks between them (line-N)", len(functions)),
		Pointed: "e2e/toolsuites/kubectl.sh stands for the part that starts etcd, an API server and a controller manager; " +
			"in a copy of the scripts, the address of that API server is the target's, and its fixed token one of an administrator's ServiceAccount; " + pointedBare,
		run: func(ctx context.Context, target conformance.Target, focus *regexp.Regexp, dir string) (results Results, err error) {
			copied := filepath.Join(dir, "source")
			if err := copyOf(source, copied, "hack", "test/cmd", "test/fixtures", "test/e2e/testing-manifests", "third_party/forked/shell2junit"); err != nil {
				return nil, err
			}
			programs := filepath.Join(copied, "_output", "bin") // where hack/lib looks for them
			if err := os.MkdirAll(programs, 0o755); err != nil {
				return nil, err
			}
			for _, program := range []string{filepath.Join(root, "bin", "host", "kubectl"), convert} {
				if err := os.Symlink(program, filepath.Join(programs, filepath.Base(program))); err != nil {
					return nil, err
				}
			}
			cluster := &bare{kubectl: filepath.Join(root, "bin", "host", "kubectl"), kubeconfig: target.Kubeconfig}
			if err := cluster.begin(ctx); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, cluster.end(ctx)) }()
			var only []string
			for _, function := range functions {
				if focus != nil && focus.MatchString(function) {
					only = append(only, function)
				}
			}
			if focus != nil && len(only) == 0 {
				return Results{}, nil
			}
			results, err = runKubectl(ctx, target, copied, dir, excluded, only)
			if err != nil || focus != nil {
				return results, err
			}
			for _, function := range functions {
				if _, ran := results[function]; !ran {
					results[function] = conformance.Result{Outcome: conformance.Skipped}
				}
			}
			return results, nil
		},
	}, nil
}

// recorded is a call of upstream's record_command by runTests: the name begins with "run_".
var recorded = regexp.MustCompile(`(?m)^\s+record_command (run_\w+)`)

// functionsOf lists what legacy-script.sh runs.
func functionsOf(script string) []string {
	var names []string
	for _, found := range recorded.FindAllStringSubmatch(script, -1) {
		names = append(names, found[1])
	}
	return names
}

// runKubectl runs kubectl.sh in a copy of the sources; no function in only means all.
func runKubectl(ctx context.Context, target conformance.Target, copied, dir string, excluded, only []string) (Results, error) {
	config, err := clientcmd.BuildConfigFromFlags("", target.Kubeconfig)
	if err != nil {
		return nil, err
	}
	token, err := administrator(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("an administrator's token: %w", err)
	}
	if err := redirect(filepath.Join(copied, "test", "cmd"), config.Host, token); err != nil {
		return nil, err
	}
	scratch := filepath.Join(dir, "scratch")
	certificate := filepath.Join(dir, "ca.crt")
	script := filepath.Join(dir, "kubectl.sh")
	if err := errors.Join(os.MkdirAll(scratch, 0o755), os.WriteFile(certificate, config.CAData, 0o644), os.WriteFile(script, kubectlScript, 0o755)); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "script.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.CommandContext(ctx, "bash", script)
	command.Dir, command.Stderr = copied, log
	command.Env = append(os.Environ(), "SERVER="+config.Host, "TOKEN="+token, "CERTIFICATE="+certificate, "SCRATCH="+scratch,
		"LOGS="+dir, "EXCLUDED="+strings.Join(excluded, " "), "ONLY="+strings.Join(only, " "), "PATIENCE="+strconv.Itoa(functionPatience))
	var out strings.Builder
	command.Stdout = &out
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s, see %s: %w", script, log.Name(), err)
	}
	results, err := parseResults(strings.NewReader(out.String()))
	if err != nil {
		return nil, err
	}
	for name, result := range results {
		if result.Outcome != conformance.Failed {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name+".log"))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // checks between functions have none
			return nil, err
		}
		result.Message = complaint(string(text))
		results[name] = result
	}
	return results, nil
}

// redirect replaces, in a copy of upstream's scripts, the API server that they start and its token.
func redirect(dir, server, token string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.sh"))
	if err != nil {
		return err
	}
	words := strings.NewReplacer("https://127.0.0.1:${SECURE_API_PORT}", server, "https://localhost:${SECURE_API_PORT}", server, "admin-token", token)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(words.Replace(string(data))), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ended is a line of kubectl.sh.
var ended = regexp.MustCompile(`^RESULT (passed|failed) (\d+) (\S+)$`)

// endOfRun is the name that kubectl.sh says when it has come to its end.
const endOfRun = "end"

// parseResults reads what kubectl.sh prints; it fails for a run that was cut.
func parseResults(in io.Reader) (Results, error) {
	results := Results{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		found := ended.FindStringSubmatch(lines.Text())
		if found == nil {
			return nil, fmt.Errorf("results of kubectl's tests: %q is none", lines.Text())
		}
		seconds, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			return nil, err
		}
		results[found[3]] = conformance.Result{Outcome: conformance.Outcome(found[1]), Seconds: seconds}
	}
	if _, ok := results[endOfRun]; !ok {
		return nil, errors.New("results of kubectl's tests: the run was cut")
	}
	delete(results, endOfRun)
	return results, lines.Err()
}

// colours are what upstream's scripts print for a terminal.
var colours = regexp.MustCompile("\x1b(\\[[0-9;]*[A-Za-z]|\\(B)")

// complaint is the last that a log says before the script tells where it was.
func complaint(log string) string {
	log, _, _ = strings.Cut(colours.ReplaceAllString(log, ""), "\n!!! ")
	if at := strings.LastIndex(log, "FAIL!"); at >= 0 {
		return strings.Join(strings.Fields(log[at:]), " ")
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

// administrator returns a token of a ServiceAccount that may do everything.
func administrator(ctx context.Context, config *rest.Config) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: administratorName, Namespace: metav1.NamespaceSystem}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: administratorName},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	accounts := client.CoreV1().ServiceAccounts(account.Namespace)
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	seconds := int64(tokenSeconds)
	answer, err := accounts.CreateToken(ctx, account.Name, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}
