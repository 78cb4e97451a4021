package controlplane

import (
	"fmt"
	"reflect"
	"sync"
	_ "time/tzdata" // CronJobs have time zones; the image has no zone files

	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/featuregate"
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
}

// applied remembers the first SetGlobals. It is a package variable because what
// it guards is one per process, too.
var applied struct {
	sync.Mutex
	globals *Globals
}

// SetGlobals applies them. It comes before the first API server or controller
// manager, which would otherwise read settings that change under them. Later
// calls with the same settings do nothing; with others, they fail.
func SetGlobals(globals Globals) error {
	applied.Lock()
	defer applied.Unlock()
	if applied.globals != nil {
		if !reflect.DeepEqual(*applied.globals, globals) {
			return fmt.Errorf("process-wide settings are %+v already and cannot become %+v", *applied.globals, globals)
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
	config := logsapi.NewLoggingConfiguration()
	config.Verbosity = logsapi.VerbosityLevel(globals.Verbosity)
	if globals.JSONLogs {
		config.Format = logsapi.JSONLogFormat
	}
	var gate featuregate.FeatureGate = utilfeature.DefaultFeatureGate
	if err := logsapi.ValidateAndApply(config, gate); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	logs.InitLogs()
	return nil
}
