//go:build unix && !linux

package child

import "syscall"

// attributes lack what only Linux has: there, the command outlives us if we are killed.
func attributes(group bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: group} }
