package host

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
)

// maxLine bounds a line of output in an object.
const maxLine = 500

// specTree is the spec of a plugin's object. Settings are left out: they may hold secrets.
func specTree(s *Spec, node string) map[string]any {
	out := map[string]any{"plugin": s.Name, "placement": string(s.Placement)}
	if s.Path != "" {
		out["path"] = s.Path
	}
	if len(s.Args) > 0 {
		out["args"] = anys(s.Args)
	}
	if s.SHA256 != "" {
		out["sha256"] = s.SHA256
	}
	if s.NodeScoped && node != "" {
		out["node"] = node
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
		"pid":                  nil,
		"userID":               int64(st.UserID),
		"confined":             anys(st.Confined),
		"notConfined":          anys(st.NotConfined),
		"lastExit":             nil,
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
