package host

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// maxLine bounds a line of output in an object.
const maxLine = 500

// specTree is the spec of a plugin's object. Settings are left out: they may hold secrets.
func specTree(s *Spec, node string) map[string]any {
	out := map[string]any{"plugin": s.Name, "placement": string(s.Placement)}
	if s.Path != "" {
		out["source"] = map[string]any{"path": s.Path}
	}
	if s.Source != (Source{}) {
		source := map[string]any{}
		for k, v := range map[string]string{"path": s.Source.Path, "directory": s.Source.Directory, "oci": s.Source.OCI} {
			if v != "" {
				source[k] = v
			}
		}
		out["source"] = source
		if s.Source.Version != "" {
			out["version"] = s.Source.Version
		}
		if s.Source.SHA256 != "" {
			out["sha256"] = s.Source.SHA256
		}
		if s.Source.AllowUnsigned {
			out["allowUnsigned"] = true
		}
	}
	if len(s.Args) > 0 {
		out["args"] = anys(s.Args)
	}
	if s.SHA256 != "" {
		out["sha256"] = s.SHA256
	}
	if len(s.Files) > 0 {
		out["files"] = fileTrees(s.Files)
	}
	if len(s.Privileges) > 0 {
		out["privileges"] = privilegeTrees(s.Privileges)
	}
	if s.NodeScoped && node != "" {
		out["node"], out["nodeScoped"] = node, true
	}
	if s.Disabled {
		out["disabled"] = true
	}
	return out
}

// statusTree is the status of a plugin's object as a merge patch: fields without a value
// are null.
func statusTree(st *Status) map[string]any {
	points := make([]string, 0, len(st.Points))
	for _, p := range st.Points {
		points = append(points, string(p))
	}
	out := map[string]any{
		"health":               string(st.Health),
		"restarts":             int64(st.Restarts),
		"circuit":              string(st.Circuit),
		"version":              orNull(st.Version),
		"description":          orNull(st.Description),
		"reason":               orNull(st.Reason),
		"lastReason":           orNull(st.LastReason),
		"panic":                orNull(st.Panic),
		"logFile":              orNull(st.LogFile),
		"startedAt":            timeOrNull(st.StartedAt),
		"nextStart":            timeOrNull(st.NextStart),
		"extensionPoints":      anys(points),
		"lastOutput":           anys(clip(st.LastOutput)),
		"requestedPermissions": ruleTrees(st.Requested),
		"grantedPermissions":   ruleTrees(st.Granted),
		"pendingPermissions":   ruleTrees(st.PendingPermissions),
		"pendingMachine":       anys(st.PendingMachine),
		"uses":                 anys(pointNames(st.Uses)),
		"pendingUses":          anys(pointNames(st.PendingUses)),
		"requires":             requirementTrees(st.Requires),
		"sha256":               orNull(st.SHA256),
		"digest":               orNull(st.Digest),
		"signedBy":             orNull(st.SignedBy),
		"types":                anys(st.Types),
		"calls":                st.Calls,
		"errors":               st.Errors,
		"memoryBytes":          st.MemoryBytes,
		"cpuMilliseconds":      int64(1000 * st.CPUSeconds),
		"conditions":           conditionTrees(st),
		"history":              historyTrees(st.History),
		"observedGeneration":   nil,
		"pid":                  nil,
		"userID":               int64(st.UserID),
		"confined":             anys(st.Confined),
		"notConfined":          anys(st.NotConfined),
		"lastExit":             nil,
	}
	if st.ObservedGeneration > 0 {
		out["observedGeneration"] = st.ObservedGeneration
	}
	if st.PID > 0 {
		out["pid"] = int64(st.PID)
	}
	if e := st.LastExit; e != nil {
		out["lastExit"] = map[string]any{
			"at": timeOrNull(e.At), "code": int64(e.Code), "signal": orNull(e.Signal),
		}
	}
	return out
}

func clip(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		if len(l) > maxLine {
			l = l[:maxLine] + "…"
		}
		out = append(out, l)
	}
	return out
}

func anys(list []string) []any {
	out := make([]any, 0, len(list))
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func ruleTrees(rules []rbacv1.PolicyRule) []any {
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		m := map[string]any{"verbs": anys(r.Verbs)}
		for k, v := range map[string][]string{
			"apiGroups": r.APIGroups, "resources": r.Resources,
			"resourceNames": r.ResourceNames, "nonResourceURLs": r.NonResourceURLs,
		} {
			if len(v) > 0 {
				m[k] = anys(v)
			}
		}
		out = append(out, m)
	}
	return out
}

func requirementTrees(list []manifest.Requirement) []any {
	out := make([]any, 0, len(list))
	for _, q := range list {
		m := map[string]any{"plugin": q.Plugin}
		if q.Version != "" {
			m["version"] = q.Version
		}
		out = append(out, m)
	}
	return out
}

// conditionTrees are the conditions, with Ready as it follows from the health.
func conditionTrees(st *Status) []any {
	all := *st
	ready := st.Health == HealthHealthy || st.Health == HealthStandby
	all.setCondition(ConditionReady, ready, string(st.Health), st.Reason)
	out := make([]any, 0, len(all.Conditions))
	for _, c := range all.Conditions {
		status := metav1.ConditionFalse
		if c.Status {
			status = metav1.ConditionTrue
		}
		out = append(out, map[string]any{
			"type": c.Type, "status": string(status), "reason": c.Reason, "message": c.Message,
			"lastTransitionTime": timeOrNull(c.Since),
		})
	}
	return out
}

func historyTrees(history []Revision) []any {
	out := make([]any, 0, len(history))
	for _, r := range history {
		m := map[string]any{"revision": r.Number, "state": string(r.State), "at": timeOrNull(r.At)}
		for k, v := range map[string]string{
			"version": r.Version, "source": r.Source, "settings": r.Settings, "sha256": r.SHA256, "digest": r.Digest, "reason": r.Reason,
		} {
			if v != "" {
				m[k] = v
			}
		}
		if r.Spec != nil {
			m["spec"] = r.Spec
		}
		out = append(out, m)
	}
	return out
}

// historyOf reads the history out of an object's status.
func historyOf(object map[string]any) []Revision {
	list, _ := lookup(object, "status", "history").([]any)
	out := make([]Revision, 0, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		word := func(key string) string { s, _ := m[key].(string); return s }
		r := Revision{
			Version: word("version"), Source: word("source"), SHA256: word("sha256"), Digest: word("digest"),
			State: RevisionState(word("state")), Reason: word("reason"), Settings: word("settings"),
		}
		r.Number, _ = m["revision"].(int64)
		r.At, _ = time.Parse(time.RFC3339, word("at"))
		r.Spec, _ = m["spec"].(map[string]any)
		out = append(out, r)
	}
	return out
}
