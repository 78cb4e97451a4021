// Package monitoring reads what manifests/monitoring has for operators, alerts and a dashboard, and knows which metrics
// of upstream's they may ask for beside Nestling's own.
package monitoring
