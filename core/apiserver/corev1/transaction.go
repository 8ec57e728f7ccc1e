package corev1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Bounds of a transaction.
const (
	// MaxOperations of one transaction.
	MaxOperations = 500
	// MaxBytes of a transaction as it is sent, and of what it writes.
	MaxBytes = 8 << 20
)

// Transaction is a list of writes that are done together or not at all. It is sent by POST to
// transactions and comes back with its status. The query parameters dryRun, fieldManager and
// fieldValidation mean what they mean for single writes, for all operations.
type Transaction struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Operations []Operation `json:"operations,omitempty"`

	// Status is the server's.
	Status *TransactionStatus `json:"status,omitempty"`
}

// Verbs of operations.
const (
	Create = "create"
	Update = "update"
	Patch  = "patch"
	Delete = "delete"
)

// Operation is one write of a transaction: what would be one request.
type Operation struct {
	// Verb is create, update, patch or delete.
	Verb string `json:"verb"`
	// APIVersion with Kind or Resource (the plural) name the type. They may be left out where
	// Object says them.
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Resource   string `json:"resource,omitempty"`
	// Subresource is empty or "status".
	Subresource string `json:"subresource,omitempty"`
	// Namespace and Name may be left out where Object says them.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Object is created, updated, or applied.
	Object json.RawMessage `json:"object,omitempty"`
	// PatchType is the media type that a PATCH would have, such as
	// application/merge-patch+json.
	PatchType types.PatchType `json:"patchType,omitempty"`
	Patch     json.RawMessage `json:"patch,omitempty"`
	// Preconditions that the stored object has to meet; not for create.
	Preconditions *metav1.Preconditions `json:"preconditions,omitempty"`
	Options       *Options              `json:"options,omitempty"`
}

// Options of one operation, in place of the transaction's.
type Options struct {
	FieldManager    string `json:"fieldManager,omitempty"`
	FieldValidation string `json:"fieldValidation,omitempty"`
	// Force takes fields from other managers; for server-side apply.
	Force bool `json:"force,omitempty"`
	// GracePeriodSeconds and PropagationPolicy are for delete.
	GracePeriodSeconds *int64                      `json:"gracePeriodSeconds,omitempty"`
	PropagationPolicy  *metav1.DeletionPropagation `json:"propagationPolicy,omitempty"`
}

// TransactionStatus says what became of a transaction that was done.
type TransactionStatus struct {
	// ResourceVersion is the newest of the objects that were written; nobody has seen a state
	// between it and the one before the first.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Results of the operations, in their order.
	Results []Result `json:"results"`
}

// What an operation has done.
const (
	Created     = "created"
	Updated     = "updated"
	Unchanged   = "unchanged"
	Deleted     = "deleted"
	Terminating = "terminating"
)

// Result is what became of one operation.
type Result struct {
	// Outcome is created, updated, unchanged, deleted, or terminating for an object that is
	// being deleted and waits for its grace period or finalizers.
	Outcome string `json:"outcome"`
	// Object as stored; of one that was deleted the last state.
	Object json.RawMessage `json:"object,omitempty"`
	// Warnings of the operation.
	Warnings []string `json:"warnings,omitempty"`
}
