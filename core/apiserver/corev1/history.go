package corev1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HistoryPath before the path of an object or of a collection is the path of its
// history: HistoryPath + "/api/v1/namespaces/default/configmaps/x".
const HistoryPath = "/apis/" + Group + "/" + Version + "/history"

// History is what changed of an object, or in a collection, within the store's horizon. It
// is for who may get the object, or list the collection.
type History struct {
	metav1.TypeMeta `json:",inline"`
	// ListMeta has the revision up to which the history goes.
	metav1.ListMeta `json:"metadata"`
	// Horizon is the revision behind which nothing is known.
	Horizon string `json:"horizon"`
	// More is set where there are older changes than those listed; the query parameter limit
	// says how many are (DefaultHistoryLimit).
	More bool `json:"more,omitempty"`
	// Items are changes, the oldest first. The first one may be of the type Existing: the
	// object as it was at the horizon.
	Items []Revision `json:"items"`
}

// DefaultHistoryLimit is how many changes are listed unless the query parameter limit says
// otherwise, MaxHistoryLimit the most it may say.
const (
	DefaultHistoryLimit = 100
	MaxHistoryLimit     = 1000
)

// Types of revisions.
const (
	Existing = "Existing"
	Added    = "Created"
	Modified = "Updated"
	Removed  = "Deleted"
)

// Revision is one change.
type Revision struct {
	ResourceVersion string `json:"resourceVersion"`
	Type            string `json:"type"`
	Namespace       string `json:"namespace,omitempty"`
	Name            string `json:"name"`
	// User has removed the object, at Time: for removals.
	User string `json:"user,omitempty"`
	// Time, Managers and Subresource are, for other changes, what the object's managedFields
	// say: when, by which field managers, and through which subresource. They are absent where
	// these do not tell.
	Time        *metav1.Time `json:"time,omitempty"`
	Managers    []string     `json:"managers,omitempty"`
	Subresource string       `json:"subresource,omitempty"`
	// Changed are the paths of the fields that changed, for updates.
	Changed []string `json:"changed,omitempty"`
	// Object after the change; of a removal the last state. Absent where the query parameter
	// objects is false.
	Object json.RawMessage `json:"object,omitempty"`
}
