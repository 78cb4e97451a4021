package controlplane

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	_ "time/tzdata" // CronJobs have time zones; the image has no zone files

	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register"           // the JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo"  // client-go's metrics; the first adapter wins
	_ "k8s.io/component-base/metrics/prometheus/version"   // kubernetes_build_info
	_ "k8s.io/component-base/metrics/prometheus/workqueue" // workqueue metrics; the first adapter wins
	_ "k8s.io/kubernetes/pkg/features"                     // Kubernetes' feature gates; replaces client-go's for the process
)

// This file holds every side effect on the process as a whole, besides the
// imports of Kubernetes itself.

// Globals are the settings that Kubernetes keeps once per process.
type Globals struct {
	// FeatureGates of the API server and the controller manager, which share
	// one set, and of client-go. They win over
	// our own defaults.
	FeatureGates map[string]bool

	// Verbosity is klog's -v.
	Verbosity int

	// JSONLogs switches klog to one JSON object per line.
	JSONLogs bool

	// Quiet hides the informational messages and warnings of klog, some 300
	// lines at a start; errors stay. It has no effect on JSONLogs. Loggers that
	// are not klog's, as a text logger in a context, are not concerned.
	Quiet bool
}

// applied remembers the first SetGlobals. It is a package variable because what
// it guards is one per process, too.
var applied struct {
	sync.Mutex
	globals *Globals
}

// SetGlobals applies them. It comes before the first API server or controller
// manager, which would otherwise read settings that change under them. Later
// calls do nothing: the log stays as it is, and other feature gates are an error.
func SetGlobals(globals Globals) error {
	applied.Lock()
	defer applied.Unlock()
	if applied.globals != nil {
		if !maps.Equal(applied.globals.FeatureGates, globals.FeatureGates) {
			return fmt.Errorf("feature gates are %v in this process already and cannot become %v",
				applied.globals.FeatureGates, globals.FeatureGates)
		}
		return nil
	}
	if err := setFeatureGates(globals.FeatureGates); err != nil {
		return err
	}
	if err := setLogs(globals); err != nil {
		return err
	}
	// Warnings of the API about deprecated kinds are for people; the clients in
	// this process are upstream's own, and generic.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	applied.globals = &globals
	return nil
}

// defaultFeatureGates are those in which we differ from upstream.
func defaultFeatureGates() map[string]bool {
	return map[string]bool{
		// Finds other API servers of the cluster; there are none.
		"UnknownVersionInteroperabilityProxy": false,
	}
}

// setFeatureGates sets the gates once and for all components: the API server
// and the controller manager register in the same registry, and both would set
// it to defaults, with a warning, if nobody else had.
func setFeatureGates(gates map[string]bool) error {
	all := defaultFeatureGates()
	maps.Copy(all, gates)
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(all); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	utilfeature.DefaultMutableFeatureGate.AddMetrics()
	compatibility.DefaultComponentGlobalsRegistry.AddMetrics()
	return nil
}

// setLogs configures klog, for which upstream allows a single time, and sends
// Go's standard log there.
func setLogs(globals Globals) error {
	logs.InitLogs() // first: it turns off contextual logging, which the rest turns on again
	config := logsapi.NewLoggingConfiguration()
	config.Verbosity = logsapi.VerbosityLevel(globals.Verbosity)
	streams := &logsapi.LoggingOptions{ErrorStream: os.Stderr, InfoStream: os.Stderr}
	if globals.JSONLogs {
		config.Format = logsapi.JSONLogFormat
	} else if globals.Quiet {
		streams.ErrorStream = quiet{os.Stderr}
	}
	if err := logsapi.ValidateAndApplyWithOptions(config, streams, utilfeature.DefaultFeatureGate); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	return nil
}

// quiet drops messages in klog's text format that tell nothing to a person:
// informational ones, warnings, and errors that are part of every good start.
type quiet struct{ io.Writer }

func (q quiet) Write(message []byte) (int, error) {
	if len(message) > 0 && (message[0] == 'I' || message[0] == 'W') || harmless(message) {
		return len(message), nil
	}
	return q.Writer.Write(message)
}

// harmless are upstream's error messages of a start and a stop without any error.
func harmless(message []byte) bool {
	for _, text := range []string{
		// The start.
		"The manifest file is empty, ignoring.", // a flag that is not set
		`namespaces \"kube-system\" not found`,  // retried until it is there
		"failed to update storage version",      // etcd, retried
		"is not as new as written version",      // a controller waits for its own write to come back
		"Unable to authenticate the request",    // somebody's, not ours; counted in the metrics
		// The stop, which comes to everyone who is in the middle of something.
		"context canceled",
		"Unable to sync caches",
		"broadcaster already stopped",
		"Handler timeout",
		"Post-timeout activity",
		"Failed to shutdown server: context deadline exceeded", // a stream that goes on
	} {
		if bytes.Contains(message, []byte(text)) {
			return true
		}
	}
	return false
}
