// Package simhost is a simulated host cluster inside the process: a real etcd,
// kube-apiserver, controller manager and kube-scheduler, and KWOK's controllers
// in the place of kubelets. No root, no containers, a few seconds to start.
//
// What is real: the API with RBAC and admission, scheduling, the upstream
// controllers, node leases and what happens when they end. What is played: pods
// bound to a node run, finish and go away as podstatus.go says, logs and exec
// are answered by a small script (kubeletapi.go), and Services have IPs but no
// traffic flows.
//
// Pods can ask for a part in the play by annotation, see stages.go, and metrics.go for
// what metrics.k8s.io says that they use.
package simhost
