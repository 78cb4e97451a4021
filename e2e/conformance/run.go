package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// partTimeout is ginkgo's; a spec has its own timeouts.
const partTimeout = 3 * time.Hour

// Names of targets.
const (
	hostTarget   = "host"
	tenantTarget = "tenant"
)

// Target is a cluster that the suite is run against.
type Target struct {
	// Name is hostTarget or tenantTarget.
	Name string
	// Kubeconfig is the path of its administrator's.
	Kubeconfig string
}

// Run runs what is selected of the parts, one part after the other, and returns all results
// of the target, earlier ones of other specs among them. They are saved after every spec.
// A spec that fails is no error.
func (s *Suite) Run(ctx context.Context, target Target, parts []Part, selection Selection, exceptions *Exceptions, say io.Writer) (*Results, error) {
	file := s.resultsFile(target.Name)
	results, err := loadResults(file)
	if err != nil {
		return nil, err
	}
	all, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		specs, err := part.choose(all)
		if err != nil {
			return nil, err
		}
		chosen := selection.narrow(specs, results, func(name string) bool { return exceptions.ofTenant(target.Name, name) })
		if len(chosen) == 0 {
			fmt.Fprintf(say, "%s, %s: nothing to run\n", target.Name, part.Name)
			continue
		}
		results.forget(chosen)
		fmt.Fprintf(say, "%s, %s: %d specs, %d at a time\n", target.Name, part.Name, len(chosen), part.Processes)
		begin := time.Now()
		if err := s.run(ctx, target, part, chosen, &recorder{results: results, file: file, say: say, total: len(chosen)}); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		if selection.whole() {
			results.Took[part.Name] = took.Seconds()
		}
		fmt.Fprintf(say, "%s, %s: %.0f s\n", target.Name, part.Name, took.Seconds())
		if err := results.save(file); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (s *Suite) resultsFile(target string) string {
	return filepath.Join(s.root, ".cache", "conformance", target+".json")
}

// List are the names of all specs.
func (s *Suite) List(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, s.program("e2e.test"), "--list-tests", "--provider=skeleton").Output()
	if err != nil {
		return nil, fmt.Errorf("list the specs of the suite: %w", err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if found := listed.FindStringSubmatch(line); found != nil {
			names = append(names, found[1])
		}
	}
	return names, nil
}

// listed is a line of --list-tests: "    k8s.io/…/watchlist.go:258: [sig-api-machinery] API …"
var listed = regexp.MustCompile(`^\s+\S+\.go:\d+: (\[sig-.*\S)\s*$`)

// perFlag bounds an argument's length, which the kernel does too.
const perFlag = 100

// focuses are ginkgo's flags that select exactly the specs: it matches the suite's name, a
// blank, and the spec's.
func focuses(specs []string) []string {
	var flags []string
	for begin := 0; begin < len(specs); begin += perFlag {
		var quoted []string
		for _, name := range specs[begin:min(begin+perFlag, len(specs))] {
			quoted = append(quoted, regexp.QuoteMeta(name))
		}
		flags = append(flags, "--focus=^Kubernetes e2e suite ("+strings.Join(quoted, "|")+")$")
	}
	return flags
}

// run runs specs in the network of a node, as a program of the cluster's user would.
func (s *Suite) run(ctx context.Context, target Target, part Part, specs []string, record *recorder) error {
	out := filepath.Join(s.root, ".cache", "conformance", target.Name+"-"+part.Name)
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(out, "log.txt"))
	if err != nil {
		return err
	}
	defer log.Close()
	url, stop, err := record.serve(s.host.MachineAddress())
	if err != nil {
		return err
	}
	defer stop()
	report := filepath.Join(out, "report.json")
	argv := []string{
		"/usr/bin/env", "KUBECONFIG=" + target.Kubeconfig, s.program("ginkgo"),
		"--nodes=" + strconv.Itoa(part.Processes), "--no-color", "--silence-skips", "--timeout=" + partTimeout.String(), "--json-report=report.json", "--output-dir=" + out,
	}
	argv = append(argv, focuses(specs)...)
	argv = append(argv, s.program("e2e.test"), "--",
		"--kubeconfig="+target.Kubeconfig, "--kubectl-path="+s.hostProgram("kubectl"), "--provider=skeleton", "--progress-report-url="+url,
		"--minStartupPods=0", "--allowed-not-ready-nodes=0", "--dump-logs-on-failure=false", "--report-dir="+out)
	command := s.host.Command(ctx, 0, argv...)
	command.Stdout, command.Stderr = log, log
	// Ginkgo's code says whether a spec failed; whether they ran at all, its report.
	_ = command.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	data, err := os.ReadFile(report)
	if err != nil {
		return fmt.Errorf("the suite has left no report, see %s: %w", log.Name(), err)
	}
	found, err := ParseReport(data)
	if err != nil {
		return fmt.Errorf("%s: %w", report, err)
	}
	missing := record.adopt(specs, found)
	if len(missing) > 0 {
		return fmt.Errorf("%d specs have not run, %q among them, see %s", len(missing), missing[0], log.Name())
	}
	return nil
}

// recorder keeps results as they come.
type recorder struct {
	mu      sync.Mutex
	results *Results
	file    string
	say     io.Writer
	done    int
	total   int
	err     error
}

// serve takes what the suite posts after every spec (test/e2e/reporters/progress.go).
func (r *recorder) serve(address string) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var progress struct {
			Message string `json:"msg"`
		}
		if err := json.NewDecoder(request.Body).Decode(&progress); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.note(progress.Message)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(r.say, "progress of the suite: %v\n", err)
		}
	}()
	return "http://" + listener.Addr().String(), func() { _ = server.Close(); <-ended }, nil
}

// note takes a message such as "PASSED [sig-node] …".
func (r *recorder) note(message string) {
	word, name, _ := strings.Cut(message, " ")
	outcome, ok := map[string]Outcome{"PASSED": Passed, "FAILED": Failed}[word]
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if outcome == Failed {
		fmt.Fprintf(r.say, "%d of %d: failed: %s\n", r.done, r.total, name)
	} else if r.done%20 == 0 {
		fmt.Fprintf(r.say, "%d of %d\n", r.done, r.total)
	}
	r.results.Specs[name] = Result{Outcome: outcome}
	if err := r.results.save(r.file); err != nil && r.err == nil {
		r.err = err
		fmt.Fprintf(r.say, "keep results: %v\n", err)
	}
}

// adopt takes what ginkgo's report says, and returns the specs that it does not speak of.
func (r *recorder) adopt(specs []string, found map[string]Result) (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range specs {
		if result, ok := found[name]; ok {
			r.results.Specs[name] = result
		} else if _, ok := r.results.Specs[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing
}
