package bench

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is a process's memory in bytes: resident, and the anonymous part of it,
// which no other process shares.
type Memory struct{ RSS, Anonymous int64 }

// MemoryOf reads /proc/PID/smaps_rollup (proc(5)).
func MemoryOf(pid int) (Memory, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, err
	}
	defer file.Close()
	var out Memory
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		name, rest, _ := strings.Cut(scanner.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "Rss":
			out.RSS = kilobytes << 10
		case "Anonymous":
			out.Anonymous = kilobytes << 10
		}
	}
	return out, scanner.Err()
}

func (m Memory) String() string {
	return fmt.Sprintf("RSS %d MB, of it anonymous %d MB", m.RSS>>20, m.Anonymous>>20)
}
