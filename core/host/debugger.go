package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// traced reports whether a debugger of the host's own user, or of root, holds a process. Such a
// process may not answer for as long as a person thinks, and is not hung. Other tracers don't
// count: a plugin could trace itself so as not to be noticed.
func traced(pid int) bool {
	if pid <= 0 {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(text, []byte("\nTracerPid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	tracer, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil || tracer == 0 {
		return false
	}
	st, err := os.Stat(fmt.Sprintf("/proc/%d", tracer))
	if err != nil {
		return false
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	return ok && (owner.Uid == 0 || int(owner.Uid) == os.Geteuid())
}
