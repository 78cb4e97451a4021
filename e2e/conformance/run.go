package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// partTimeout is ginkgo's; a spec has its own timeouts.
const partTimeout = 3 * time.Hour

// Names of targets.
const (
	Host   = "host"
	Tenant = "tenant"
)

// Target is a cluster that the suite is run against.
type Target struct {
	// Name is Host or Tenant.
	Name string
	// Kubeconfig is the path of its administrator's. Its server is reached from this machine.
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
	for _, part := range parts {
		specs, err := part.choose(s.specs)
		if err != nil {
			return nil, err
		}
		excepted := func(name string) bool { return exceptions.ofTenant(target.Name, name) }
		chosen := selection.narrow(specs, results, excepted)
		if len(chosen) == 0 {
			fmt.Fprintf(say, "%s, %s: nothing to run\n", target.Name, part.Name)
			continue
		}
		results.forget(chosen)
		fmt.Fprintf(say, "%s, %s: %d specs, %d at a time\n", target.Name, part.Name, len(chosen), part.Processes)
		begin := time.Now()
		record := &recorder{results: results, file: file, say: say, specs: map[string]bool{}, alone: part.Processes == 1}
		for _, name := range chosen {
			record.specs[name] = true
		}
		if err := s.run(ctx, target, part, chosen, record); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		if len(chosen) == len(Selection{Excepted: selection.Excepted}.narrow(specs, newResults(), excepted)) {
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

// Specs are the names of all of them.
func (s *Suite) Specs() []string { return s.specs }

// list asks the suite for its specs.
func (s *Suite) list(ctx context.Context) ([]string, error) {
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
	report := filepath.Join(out, "report.json")
	argv := []string{
		"/usr/bin/env", "KUBECONFIG=" + target.Kubeconfig, s.program("ginkgo"),
		"--nodes=" + strconv.Itoa(part.Processes), "--no-color", "-v", "--silence-skips", "--timeout=" + partTimeout.String(), "--json-report=report.json", "--output-dir=" + out,
	}
	if part.Attempts > 1 {
		argv = append(argv, "--flake-attempts="+strconv.Itoa(part.Attempts))
	}
	argv = append(argv, focuses(specs)...)
	argv = append(argv, s.program("e2e.test"), "--",
		"--kubeconfig="+target.Kubeconfig, "--kubectl-path="+s.hostProgram("kubectl"), "--provider=skeleton",
		"--minStartupPods=0", "--allowed-not-ready-nodes=0", "--dump-logs-on-failure=false", "--report-dir="+out)
	command := s.host.Command(ctx, 0, argv...)
	both := io.MultiWriter(log, record)
	command.Stdout, command.Stderr = both, both
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

// recorder keeps results as ginkgo prints them: its report comes at the end alone. (What the
// suite posts to --progress-report-url says nothing of specs that passed.)
type recorder struct {
	results *Results
	file    string
	say     io.Writer
	// specs are those that run, with what ginkgo prints behind the name cut off.
	specs map[string]bool
	// alone says that specs run one at a time: a name is printed before its outcome.
	alone   bool
	done    int
	partial []byte // of a line
	name    string
	outcome Outcome
}

// Write takes ginkgo's verbose output.
func (r *recorder) Write(output []byte) (int, error) {
	rest := append(r.partial, output...)
	for {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			r.partial = bytes.Clone(rest)
			return len(output), nil
		}
		if err := r.line(string(line)); err != nil {
			return 0, err
		}
		rest = after
	}
}

// header is the line about an ended spec: "• [1.2 seconds]", "• [FAILED] [1.2 seconds]",
// "S [SKIPPED] [0.1 seconds]".
var header = regexp.MustCompile(`^(•|S) (?:\[([A-Z !]+)\] )?\[[0-9.]+ seconds\]$`)

// leaf is where ginkgo marks the node of a spec that failed.
var leaf = regexp.MustCompile(` \[(It|BeforeEach|AfterEach|JustBeforeEach|DeferCleanup \(Each\))\]`)

// labels are what it prints behind the name.
var labels = regexp.MustCompile(` \[[^\[\]]*\]$`)

func (r *recorder) line(line string) error {
	if found := header.FindStringSubmatch(line); found != nil {
		switch {
		case found[1] == "S":
			r.outcome = Skipped
		case found[2] == "":
			r.outcome = Passed
		default:
			r.outcome = Failed
		}
		if r.alone && r.name != "" {
			return r.note(r.name)
		}
		return nil
	}
	if !strings.HasPrefix(line, "[sig-") {
		return nil
	}
	name := labels.ReplaceAllString(leaf.ReplaceAllString(line, ""), "")
	if !r.specs[name] {
		return nil
	}
	if r.alone {
		r.name = name
		return nil
	}
	if r.outcome == "" {
		return nil
	}
	return r.note(name)
}

// note keeps the outcome of a spec.
func (r *recorder) note(name string) error {
	outcome := r.outcome
	r.name, r.outcome = "", ""
	r.done++
	if outcome == Failed {
		fmt.Fprintf(r.say, "%d of %d: failed: %s\n", r.done, len(r.specs), name)
	} else if r.done%20 == 0 {
		fmt.Fprintf(r.say, "%d of %d\n", r.done, len(r.specs))
	}
	r.results.Specs[name] = Result{Outcome: outcome}
	return r.results.save(r.file)
}

// adopt takes what ginkgo's report says, and returns the specs that it does not speak of.
func (r *recorder) adopt(specs []string, found map[string]Result) (missing []string) {
	for _, name := range specs {
		if result, ok := found[name]; ok {
			r.results.Specs[name] = result
		} else if _, ok := r.results.Specs[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing
}
