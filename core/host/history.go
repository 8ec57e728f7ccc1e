package host

import (
	"fmt"
	"strings"
	"time"
)

// keptRevisions is the length of a plugin's history.
const keptRevisions = 10

// RevisionState is what became of a revision.
type RevisionState string

// The states of revisions.
const (
	// RevisionServing runs now.
	RevisionServing RevisionState = "Serving"
	// RevisionReplaced ran until another took over.
	RevisionReplaced RevisionState = "Replaced"
	// RevisionRefused was tried beside what ran, and never took over.
	RevisionRefused RevisionState = "Refused"
	// RevisionRolledBack took over, and failed within its watch period.
	RevisionRolledBack RevisionState = "RolledBack"
)

// Revision is one state of a plugin's entry, and what became of it.
type Revision struct {
	// Number counts the revisions of a plugin.
	Number  int64
	Version string
	Source  string
	SHA256  string
	Digest  string
	State   RevisionState
	// Reason it was refused or rolled back for.
	Reason string
	// At is when it got into its state.
	At time.Time
	// Spec is that of the Plugin object, nil where the entry is the configuration's.
	Spec map[string]any
	// Settings is the version of the Secrets that settings came from.
	Settings string
}

// revision is the instance as an entry of the history.
func (i *instance) revision(state RevisionState, reason string) Revision {
	return Revision{
		Version: i.info.Version, Source: i.entry.origin(), SHA256: i.spec.SHA256, Digest: i.artifact.Digest,
		State: state, Reason: reason, At: now(), Spec: i.entry.Wish, Settings: i.entry.Origin.Version,
	}
}

// origin says for people where an entry's plugin comes from.
func (e entry) origin() string {
	switch {
	case e.Source != Source{}:
		return e.Source.String()
	case e.Path != "":
		return e.Path
	default:
		return "the host's own " + e.Name
	}
}

// is reports whether two revisions are the same but for what became of them.
func (r *Revision) is(o *Revision) bool {
	unknown := r.Version == "" || o.Version == "" // it was refused before it could say
	return (unknown || r.Version == o.Version) && r.SHA256 == o.SHA256 && r.Source == o.Source && r.Settings == o.Settings && mustJSON(r.Spec) == mustJSON(o.Spec)
}

// record puts a revision at the end of the history, where it does not end with it already.
func (st *Status) record(r Revision) {
	history := append([]Revision(nil), st.History...) // snapshots share the old one
	last := len(history) - 1
	switch {
	case last >= 0 && history[last].is(&r):
		r.Number = history[last].Number
		if r.State == history[last].State {
			r.At = history[last].At
		}
		history[last] = r
	default:
		if last >= 0 {
			r.Number = history[last].Number
		}
		r.Number++
		history = append(history, r)
	}
	for i := range len(history) - 1 {
		if r.State == RevisionServing && history[i].State == RevisionServing {
			history[i].State, history[i].At = RevisionReplaced, r.At
		}
	}
	if over := len(history) - keptRevisions; over > 0 {
		history = history[over:]
	}
	st.History = history
}

// Condition types of a Plugin object.
const (
	// ConditionReady: it does its work, or stands by.
	ConditionReady = "Ready"
	// ConditionGranted: it has all permissions that it asks for.
	ConditionGranted = "Granted"
	// ConditionUpgraded: what its entry says is what runs.
	ConditionUpgraded = "Upgraded"
	// ConditionSettings: all that its settings come from is there. It is only on plugins whose
	// settings come from Secrets.
	ConditionSettings = "SettingsResolved"
)

// Condition is one thing that is true of a plugin, or not.
type Condition struct {
	Type    string
	Status  bool
	Reason  string
	Message string
	Since   time.Time
}

// setCondition sets a condition; Since stays where its status does.
func (st *Status) setCondition(kind string, status bool, reason, message string) {
	conditions := append([]Condition(nil), st.Conditions...)
	c := Condition{Type: kind, Status: status, Reason: reason, Message: message, Since: now()}
	for i := range conditions {
		if conditions[i].Type == kind {
			if conditions[i].Status == status {
				c.Since = conditions[i].Since
			}
			conditions[i] = c
			st.Conditions = conditions
			return
		}
	}
	st.Conditions = append(conditions, c)
}

// Condition returns a condition, false where it is not set.
func (st *Status) Condition(kind string) (Condition, bool) {
	for _, c := range st.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}

func (st *Status) setGranted(name string, pending []policyRule) {
	var missing []string
	if len(pending) > 0 {
		missing = append(missing, fmt.Sprintf("not granted: %s (`pintle plugin grant %s` grants them)", RulesText(pending), name))
	}
	if len(st.PendingUses) > 0 {
		missing = append(missing, usesText(st.PendingUses, name))
	}
	if len(st.PendingMachine) > 0 {
		missing = append(missing, "not given of the machine: "+strings.Join(st.PendingMachine, "; ")+" (files and privileges of its entry give them)")
	}
	if len(missing) == 0 {
		st.setCondition(ConditionGranted, true, "Granted", "it has all permissions that it asks for")
		return
	}
	st.setCondition(ConditionGranted, false, "Pending", strings.Join(missing, "; "))
}

// setSettings says whether settings that come from elsewhere could be had.
func (st *Status) setSettings(o *SettingsOrigin) {
	_, said := st.Condition(ConditionSettings)
	switch {
	case o.Awaits != "":
		st.setCondition(ConditionSettings, false, "Missing", o.Awaits)
	case o.Version != "" || said:
		st.setCondition(ConditionSettings, true, "Resolved", "its settings are complete")
	}
}

// conclude notes that what is wanted runs.
func (st *Status) conclude(before string) {
	message := "version " + st.Version + " serves"
	if before != "" && before != st.Version {
		message += ", before it version " + before + " did"
	}
	st.setCondition(ConditionUpgraded, true, "Serving", message)
}

// takeOver makes the status one of another instance.
func (st *Status) takeOver(from *Status) {
	st.PID, st.StartedAt, st.Version, st.Description = from.PID, from.StartedAt, from.Version, from.Description
	st.Points, st.Placement, st.SHA256 = from.Points, from.Placement, from.SHA256
	st.Digest, st.SignedBy = from.Digest, from.SignedBy
	st.Requested, st.Granted, st.PendingPermissions = from.Requested, from.Granted, from.PendingPermissions
	st.PendingMachine = from.PendingMachine
	st.Uses, st.PendingUses, st.Requires = from.Uses, from.PendingUses, from.Requires
	if c, ok := from.Condition(ConditionGranted); ok {
		st.setCondition(c.Type, c.Status, c.Reason, c.Message)
	}
}
