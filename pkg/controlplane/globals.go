package controlplane

import (
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
	// one set, and of client-go.
	FeatureGates map[string]bool

	// Verbosity is klog's -v.
	Verbosity int

	// JSONLogs switches klog to one JSON object per line.
	JSONLogs bool

	// Quiet hides the informational messages of klog, some 300 lines at a
	// start; errors stay. It has no effect on JSONLogs. Loggers that are
	// not klog's, as a text logger in a context, are not concerned.
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

// setFeatureGates sets the gates once and for all components: the API server
// and the controller manager register in the same registry, and both would set
// it to defaults, with a warning, if nobody else had.
func setFeatureGates(gates map[string]bool) error {
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(gates); err != nil {
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
		streams.ErrorStream = dropInfo{os.Stderr}
	}
	if err := logsapi.ValidateAndApplyWithOptions(config, streams, utilfeature.DefaultFeatureGate); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	return nil
}

// dropInfo drops messages in klog's text format whose severity is informational.
type dropInfo struct{ io.Writer }

func (d dropInfo) Write(message []byte) (int, error) {
	if len(message) > 0 && message[0] == 'I' {
		return len(message), nil
	}
	return d.Writer.Write(message)
}
