package conformance

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

// Part is a selection of specs and how it is run.
type Part struct {
	Name string
	// Words for the report.
	Words string
	// focus and skip match names; specs, if there are any, are names themselves.
	focus, skip *regexp.Regexp
	specs       []string
	// Processes run specs side by side.
	Processes int
	// Attempts at a spec that fails; 0 is one. More are for CI, where a machine may be too busy
	// for the deadlines in the specs.
	Attempts int
}

// processes suit two cores: specs mostly wait.
const processes = 10

var (
	conformance = regexp.MustCompile(`\[Conformance\]`)
	alone       = regexp.MustCompile(`\[Serial\]|\[Disruptive\]`)
)

// Parts are all, in the order of running.
func Parts() []Part { return []Part{Parallel(), Serial(), More(), Quick(), QuickSerial()} }

// Parallel is what [Conformance] has that may run side by side.
func Parallel() Part {
	return Part{Name: "parallel", Words: "[Conformance], side by side", focus: conformance, skip: alone, Processes: processes}
}

// Serial is what [Conformance] has that wants a cluster for itself.
func Serial() Part {
	return Part{Name: "serial", Words: "[Conformance], [Serial]", focus: regexp.MustCompile(`\[Conformance\].*(\[Serial\]|\[Disruptive\])|(\[Serial\]|\[Disruptive\]).*\[Conformance\]`), Processes: 1}
}

// More is what sig-cli, sig-network and sig-storage have besides [Conformance], without
// what this host has not.
func More() Part {
	return Part{
		Name: "more", Words: "[sig-cli], [sig-network] and [sig-storage] besides [Conformance]",
		focus: regexp.MustCompile(`^\[sig-(cli|network|storage)\]`), skip: regexp.MustCompile(strings.Join(notHere, "|")), Processes: processes,
	}
}

// notHere are marks of specs of part More that say what they want of a host and this one
// has not; or that want it for themselves.
var notHere = []string{
	`\[Conformance\]`, `\[Serial\]`, `\[Disruptive\]`, `\[Flaky\]`, `\[Slow\]`,
	// Another system, cloud, or kernel.
	`\[Feature:Windows\]`, `\[Feature:SELinux`, `\[Feature:IPv6DualStack\]`, `\[Feature:SCTPConnectivity\]`, `\[Feature:GPU`, `GCE`, `\[Provider:`,
	`\[Feature:LoadBalancer\]`, `\[Feature:Ingress\]`, `\[Feature:NEG\]`, `\[Feature:NodeIPAM`, `\[Feature:Networking-(IPv4|IPv6|DNS)\]`,
	// The matrix of volume drivers tries kubelet's mounting, by images that are not built from
	// Go or, of local volumes, from within the mount namespace of process 1, the machine's.
	`\[Driver:`, `PersistentVolumes-local`, `\[Feature:Volumes\]`, `CSI [Mm]ock`, `csi-mock`, `\[Feature:Flexvolumes\]`, `NFS`, `\[Feature:volumegroupsnapshot\]`,
	`\[Feature:VolumeSnapshotDataSource\]`, `\[Feature:snapshotmetadata\]`, `\[Feature:VolumeSourceXFS\]`, `\[Feature:VolumeAttributesClass\]`, `\[Feature:RecoverVolumeExpansionFailure\]`,
	// No NetworkPolicies are enforced by Debian's CNI plugins, and gates that are off.
	`\[Feature:NetworkPolicy\]`, `\[Feature:OffByDefault\]`, `\[Alpha\]`,
}

//go:embed quick.txt
var quick string

// Quick is in CI, with QuickSerial: some specs of every group of the suite, and those that
// once failed in a tenant.
func Quick() Part {
	return Part{Name: "quick", Words: "the choice of quick.txt, side by side", Processes: processes, Attempts: 2, specs: quickSpecs(false)}
}

// QuickSerial are those of the choice that want a cluster for themselves.
func QuickSerial() Part {
	return Part{Name: "quick-serial", Words: "the choice of quick.txt, one at a time", Processes: 1, Attempts: 2, specs: quickSpecs(true)}
}

func quickSpecs(serial bool) []string {
	var specs []string
	for line := range strings.Lines(quick) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && alone.MatchString(line) == serial {
			specs = append(specs, line)
		}
	}
	return specs
}

// choose are the specs of all that belong to the part. Every name of a list must be among
// them: upstream renames specs.
func (p Part) choose(all []string) ([]string, error) {
	known := map[string]bool{}
	var chosen []string
	for _, name := range all {
		known[name] = true
		if p.focus != nil && p.focus.MatchString(name) && (p.skip == nil || !p.skip.MatchString(name)) {
			chosen = append(chosen, name)
		}
	}
	for _, name := range p.specs {
		if !known[name] {
			return nil, fmt.Errorf("part %s: the suite has no spec %q (any more?)", p.Name, name)
		}
		chosen = append(chosen, name)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("part %s: no spec of the suite belongs to it", p.Name)
	}
	return chosen, nil
}

// Selection narrows what is run.
type Selection struct {
	// Focus and Skip match the names of specs.
	Focus, Skip *regexp.Regexp
	// OnlyFailed runs those again that failed last time, Resume those that have not run yet.
	OnlyFailed, Resume bool
	// Excepted runs those too of which it is known that the target cannot have them.
	Excepted bool
}

// narrow returns the specs to run; excepted tells of which of them it is known that the
// target cannot have them.
func (s Selection) narrow(specs []string, earlier *Results, excepted func(name string) bool) []string {
	var out []string
	for _, name := range specs {
		last, ran := earlier.Specs[name]
		switch {
		case !s.Excepted && excepted(name):
		case s.Focus != nil && !s.Focus.MatchString(name),
			s.Skip != nil && s.Skip.MatchString(name),
			s.OnlyFailed && last.Outcome != Failed,
			s.Resume && ran:
		default:
			out = append(out, name)
		}
	}
	return out
}
