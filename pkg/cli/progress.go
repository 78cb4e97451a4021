package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"nestling.dev/nestling/pkg/fleet"
)

// exitCodes end the help of every command that reaches out.
const exitCodes = `
Exit codes: 0 done; 2 the command line or a file that it names is wrong, and nothing was done; 1 anything else, in one
line on standard error.`

// steps prints one line per step. What a script reads goes to standard output, so steps go to standard error.
func steps(out io.Writer) func(fleet.Step) {
	mark, warning := "", "! "
	if terminal(out) {
		mark, warning = "\x1b[32m✓\x1b[0m ", "\x1b[33m!\x1b[0m "
	}
	return func(step fleet.Step) {
		sign := mark
		if step.Warning {
			sign = warning
		}
		fmt.Fprintf(out, "%5.1fs  %s%s\n", step.Since.Seconds(), sign, step.Text)
	}
}

func terminal(out io.Writer) bool {
	if renamed, ok := out.(speaking); ok {
		out = renamed.Writer
	}
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// seconds is a duration as people and JSON read it.
func seconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond)) / float64(time.Second)
}
