package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/pintle-dev/pintle/core/host"
)

const (
	// maxNote is the length of a note on one line of a table.
	maxNote = 120
	// maxLastLines are shown of what a plugin wrote before it ended.
	maxLastLines = 20
)

// ago is the time from a moment to now as kubectl writes it, empty where there is no moment.
func ago(moment string, now time.Time) string {
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		return ""
	}
	return duration.HumanDuration(now.Sub(at))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// line is a text on one line, cut where it is longer than so many characters.
func line(s string, length int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > length {
		return string(r[:length-1]) + "…"
	}
	return s
}

// since is how long a plugin has been as it is.
func (v *pluginView) since(now time.Time) string {
	if c := v.condition(host.ConditionReady); c != nil {
		return duration.HumanDuration(now.Sub(c.LastTransitionTime.Time))
	}
	return "-"
}

// note is what an operator had better know of a plugin, most urgent first; empty where all is
// well.
func (v *pluginView) note(now time.Time) string {
	var out []string
	reason := v.Reason
	if v.Restarts > 0 && v.Health == string(host.HealthStarting) {
		reason = cmp.Or(reason, v.LastReason)
	}
	if said := v.lastLine(); reason != "" && said != "" && v.PID == 0 && v.Panic == "" {
		reason += ", and last said: " + said
	}
	if reason != "" {
		out = append(out, reason)
	}
	for _, kind := range []string{host.ConditionSettings, host.ConditionUpgraded} {
		c := v.condition(kind)
		if c == nil || c.Status != metav1.ConditionFalse || c.Message == v.Reason {
			continue
		}
		switch c.Reason {
		case "Refused":
			out = append(out, fmt.Sprintf("stays at version %s: %s", v.Version, c.Message))
		case "RolledBack":
			out = append(out, fmt.Sprintf("rolled back to version %s: %s", v.Version, c.Message))
		default:
			out = append(out, c.Message)
		}
	}
	if len(v.Pending)+len(v.PendingUses)+len(v.PendingMachine) > 0 {
		out = append(out, "asks for more than it was granted, see `pintle plugin info "+v.Name+"`")
	}
	if d := ago(v.LastExit.At, now); len(out) == 0 && v.Restarts > 0 && v.LastReason != "" && d != "" {
		out = append(out, fmt.Sprintf("restarted %s ago: %s", d, v.LastReason))
	}
	return strings.Join(out, "; ")
}

// lastLine is the last that a plugin wrote itself before it ended.
func (v *pluginView) lastLine() string {
	for _, l := range slices.Backward(v.LastOutput) {
		if strings.TrimSpace(l) != "" && !strings.Contains(l, " source=host ") {
			return l
		}
	}
	return ""
}

// failures are the calls that failed, with their share where that is noticeable.
func (v *pluginView) failures() string {
	if v.Calls == 0 || v.Errors*100 < v.Calls {
		return fmt.Sprint(v.Errors)
	}
	return fmt.Sprintf("%d (%d%%)", v.Errors, v.Errors*100/v.Calls)
}

// printLastLines shows what a plugin wrote before it last ended.
func (v *pluginView) printLastLines(out io.Writer, all bool) {
	lines := slices.Clone(v.LastOutput)
	if v.Panic != "" { // that is shown already
		shown := strings.Split(v.Panic, "\n")
		lines = slices.DeleteFunc(lines, func(l string) bool { return slices.Contains(shown, l) })
	}
	if len(lines) == 0 {
		return
	}
	hint := ""
	if left := len(lines) - maxLastLines; left > 0 && !all {
		lines = lines[left:]
		hint = fmt.Sprintf(" (%d more by --all; `pintle plugin logs %s` has what it has written since)", left, v.Name)
	}
	fmt.Fprintf(out, "\nLast lines before it ended%s:\n%s\n", hint, strings.Join(lines, "\n"))
}
