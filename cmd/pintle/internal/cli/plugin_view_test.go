package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestNotesOnPlugins(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	since := now.Add(-3 * time.Minute).Format(time.RFC3339)
	condition := func(kind, status, reason, message string) map[string]any {
		return map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
	}
	for name, c := range map[string]struct {
		status map[string]any
		want   string
	}{
		"well":    {map[string]any{"health": "Healthy", "version": "1.0.0"}, ""},
		"refused": {map[string]any{"health": "Refused", "reason": "settings.mode: Unsupported value"}, "settings.mode: Unsupported value"},
		"one that dies at its start": {
			map[string]any{"health": "BackOff", "reason": "process 7 ended: exit status 3", "lastOutput": []any{"can't find my keys", `time=x level=INFO source=host msg="process 7 ended"`}},
			"process 7 ended: exit status 3, and last said: can't find my keys",
		},
		"an upgrade that was refused": {
			map[string]any{"health": "Healthy", "version": "1.0.0", "conditions": []any{condition("Upgraded", "False", "Refused", "no such artifact")}},
			"stays at version 1.0.0: no such artifact",
		},
		"one that was rolled back": {
			map[string]any{"health": "Healthy", "version": "1.0.0", "conditions": []any{condition("Upgraded", "False", "RolledBack", "process 7 ended: exit status 3")}},
			"rolled back to version 1.0.0: process 7 ended: exit status 3",
		},
		"no secret": {
			map[string]any{"health": "Pending", "reason": "no Secret", "conditions": []any{condition("SettingsResolved", "False", "Missing", "no Secret")}},
			"no Secret",
		},
		"pending grants": {map[string]any{"health": "Healthy", "pendingUses": []any{"cloud"}}, "asks for more than it was granted, see `pintle plugin info w`"},
		"a death that is over": {
			map[string]any{"health": "Healthy", "restarts": int64(2), "lastReason": "process 7 ended: signal: killed", "lastExit": map[string]any{"at": since}},
			"restarted 3m ago: process 7 ended: signal: killed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := viewPlugin(map[string]any{"metadata": map[string]any{"name": "w"}, "status": c.status})
			if err != nil {
				t.Fatal(err)
			}
			if got := v.note(now); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLastLinesAreFew(t *testing.T) {
	v := pluginView{Name: "w"}
	for i := range 50 {
		v.LastOutput = append(v.LastOutput, fmt.Sprint("line ", i))
	}
	var out strings.Builder
	v.printLastLines(&out, false)
	if got := out.String(); !strings.Contains(got, "(30 more by --all") || strings.Contains(got, "line 29\n") || !strings.HasSuffix(got, "line 49\n") {
		t.Error(got)
	}
	out.Reset()
	v.printLastLines(&out, true)
	if got := out.String(); !strings.Contains(got, "line 0\n") {
		t.Error(got)
	}
}
