package resource

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
)

// Bundle is a set of resource types offered by one plugin.
type Bundle interface {
	// Definitions returns the types as data. It is called once, at start.
	Definitions() ([]*crd.Definition, error)
	// Hooks returns what a resource does beside its data, or nil. The value implements
	// any of Defaulter, Admitter, Preparer, Validator, Beginner, Deleter, Subresourcer,
	// Converter and Printer.
	Hooks(schema.GroupResource) any
}

// Operation is what a request does.
type Operation string

// The operations of admission.k8s.io/v1.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
	Delete Operation = "DELETE"
	// Connect opens a byte stream; only admission sees it.
	Connect Operation = "CONNECT"
)

// Request is one write as hooks see it. Trees are JSON values as
// encoding/json gives them, but for integers, which are int64. A hook may change Object
// in place where its interface says so, and must never change Old.
type Request struct {
	Operation   Operation
	Resource    schema.GroupVersionResource
	Kind        schema.GroupVersionKind
	Subresource string // "" for the object itself, "status", "scale", …
	Namespace   string
	Name        string // may be empty on create with generateName before it is resolved
	DryRun      bool
	User        User
	Object      map[string]any // nil on delete
	Old         map[string]any // nil on create
	Reader      Reader
	// Together says that the write is one of several that are done together or not at all:
	// what can fail has to be done when Begin returns, and not at its end.
	Together bool
	// Warnings are sent to the client as Warning headers.
	Warnings []string
	// Memory is what a type's hooks keep from one to the next of the same write.
	Memory any
}

// User is who asked.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// Reader reads other objects, locally and without blocking on the network. Trees it
// returns are shared and must not be changed.
type Reader interface {
	// Get returns nil, nil where there is no such object.
	Get(ctx context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error)
	List(ctx context.Context, gr schema.GroupResource, namespace string) ([]map[string]any, error)
}

// RawReader is an optional power of a Reader, for hooks that need one field of an object
// where decoding all of it would be felt.
type RawReader interface {
	// Raw returns an object as it is stored, JSON of its storage version, nil where there is
	// none. It must not be changed.
	Raw(ctx context.Context, gr schema.GroupResource, namespace, name string) ([]byte, error)
}

// Writer changes objects on behalf of hooks that keep accounts of others (a quota's use, a
// budget's allowance), as the server itself: no permissions are checked and no admission is
// done.
type Writer interface {
	// ChangeStatus calls change with a private copy of the newest state of an object and
	// writes the status that change has left in it. It begins again where the object
	// changed meanwhile. An error of change ends it and is returned as it is; ErrUnchanged
	// ends it without a write and without an error. An object that is not there is an
	// error that apierrors.IsNotFound knows.
	ChangeStatus(ctx context.Context, gr schema.GroupResource, namespace, name string, change func(object map[string]any) error) error
}

// ErrUnchanged tells a Writer that there is nothing to write.
var ErrUnchanged = errors.New("nothing to change")

// Creator creates and deletes objects that come and go with others (the addresses of a
// service), as the server itself: no permissions are checked and no admission is done.
type Creator interface {
	// Create stores a new object, in which it sets the metadata that the server owns. An
	// object that exists is an error that apierrors.IsAlreadyExists knows.
	Create(ctx context.Context, gr schema.GroupResource, object map[string]any) error
	// Delete removes an object that has this UID. One that is not there, or is another, is
	// an error that apierrors.IsNotFound or apierrors.IsConflict knows.
	Delete(ctx context.Context, gr schema.GroupResource, namespace, name, uid string) error
}

// Defaulter sets fields that the schema's defaults can't: those that depend on others.
// It is called after decoding, before Prepare, for create, update and patch results, and
// must be idempotent.
type Defaulter interface {
	Default(ctx context.Context, r *Request) error
}

// Admitter admits an object, changing it where needed (a pod gets the volume of its service
// account's token). It is called before webhooks and policies are asked, which see what it has
// done, and again after what they change, so it must be idempotent. It may refuse with an
// *errors.StatusError (forbidden, …).
type Admitter interface {
	Admit(ctx context.Context, r *Request) error
}

// Preparer sets what the client may not: it clears or carries over fields owned by the
// system (a strategy's PrepareForCreate and PrepareForUpdate). It is called once, after all
// admission that changes objects. It may refuse with an *errors.StatusError (forbidden, …).
type Preparer interface {
	Prepare(ctx context.Context, r *Request) error
}

// Validator checks an object, on update also against the old one. Schema validation has
// been done by then. Paths and reasons are upstream's.
type Validator interface {
	Validate(ctx context.Context, r *Request) field.ErrorList
}

// Beginner takes part in the writes of an object: what it does stands or falls with them.
type Beginner interface {
	// Begin is called right before an object is written, after all admission, and never for
	// dry runs. op is what becomes of the object, which is Delete also where an update takes
	// the last finalizer away. Begin may still change r.Object where it must.
	//
	// It returns the end, nil for none, which is called with the outcome of the write: nil,
	// an error, or one that wraps ErrUncertain. It must not be cancelled with the request,
	// and gets a ctx of its own. Where it returns an error after a create that succeeded,
	// the object is taken away again and the client gets the error; others are logged.
	Begin(ctx context.Context, r *Request, op Operation) (end func(ctx context.Context, err error) error, err error)
}

// ErrUncertain says of a write that it may or may not have been done.
var ErrUncertain = errors.New("the outcome of the write is not known")

// Deleter decides about deletions.
type Deleter interface {
	// GracePeriod returns the seconds an object stays after it is marked deleted, given
	// those asked for (nil: the object's own default). Zero means at once.
	GracePeriod(ctx context.Context, r *Request, asked *int64) (int64, error)
}

// Subresourcer turns a create on a subresource with a body of its own (pods/binding,
// pods/eviction) into a change of its parent.
type Subresourcer interface {
	// CreateSubresource gets the body in r.Object and a private copy of the parent in
	// parent. It changes parent in place, or sets Delete in the result. The result's
	// Response is sent to the client (nil: a metav1.Status of success).
	CreateSubresource(ctx context.Context, r *Request, parent map[string]any) (SubresourceResult, error)
}

// SubresourceResult says what becomes of the parent.
type SubresourceResult struct {
	Response map[string]any
	// Delete the parent with these metav1.DeleteOptions (as a tree).
	Delete        bool
	DeleteOptions map[string]any
}

// Virtual answers creates of a virtual type (nothing is stored); it returns the object
// with its status filled in.
type Virtual interface {
	CreateVirtual(ctx context.Context, r *Request) (map[string]any, error)
}

// Printer makes the cells of a table row where columns as data are not enough, in the
// order of the definition's columns.
type Printer interface {
	Cells(object map[string]any) []any
}
