package bench

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memory is a process's memory in bytes: resident, and the anonymous part of it,
// which no other process shares.
type memory struct{ RSS, Anonymous int64 }

// memoryOf reads /proc/PID/smaps_rollup (proc(5)).
func memoryOf(pid int) (memory, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	defer file.Close()
	var out memory
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

func (m memory) String() string {
	return fmt.Sprintf("RSS %d MB, of it anonymous %d MB", m.RSS>>20, m.Anonymous>>20)
}
