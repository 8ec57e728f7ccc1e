package admission

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Request is one request as admission sees it. The embedded Request's Object is what the
// client sends (nil on delete; the options of a byte stream on connect), Old what is stored.
//
// Where a request is for a subresource with a body of its own (pods/binding, scale), Kind is
// that body's, and Resource and Subresource say where it was sent.
//
// While a new object is mutated it lacks what the server will give it: uid, creationTimestamp,
// generation, and, where it has only a generateName, its name.
type Request struct {
	*resource.Request
	// Options of the operation, as a tree: meta.k8s.io/v1 CreateOptions, UpdateOptions (of
	// patches, too) or DeleteOptions. nil on connect.
	Options map[string]any
	// Managed and OldManaged are the metadata.managedFields of Object and Old, as JSON;
	// the trees do not have them. nil where there are none.
	Managed, OldManaged []byte
	// Convert returns a copy of an object of the request in another version of its
	// type. It is an error to ask for a kind that is not served from the same objects.
	Convert func(object map[string]any, to schema.GroupVersionKind) (map[string]any, error)
	// Decode makes of a tree what it would be had a client sent it as an object of the
	// request's type in the version it names: fields that are not known are dropped,
	// defaults are set. Trees of other kinds (a Binding, a Scale) stay as they are. Who
	// changes an object more than once calls it in between.
	Decode func(ctx context.Context, object map[string]any) error
	// Annotate adds to the request's audit event. It is never nil.
	Annotate func(key, value string)
	// Round is 0, or 1 where mutators are asked again because a [Reinvoker] has changed
	// the object in round 0.
	Round int
	// Memory is where mutators keep what they want to know in the next round, by keys of
	// types of their own. It is nil for validators.
	Memory map[any]any
}

// Mutator changes what is written.
type Mutator interface {
	// Mutate may change r.Object in place, or replace it, and reports whether it did. The
	// object is decoded and defaulted anew then, as if the client had sent it. An error
	// refuses the request: an *errors.StatusError is sent as it is, any other as an
	// internal error, or, where it is a plugin's, as forbidden.
	Mutate(ctx context.Context, r *Request) (changed bool, err error)
}

// Reinvoker is an optional power of mutators that others have to follow: where it has changed
// an object, all mutators are asked once more, in a second round.
type Reinvoker interface {
	Mutator
	// Reinvokes reports whether it wants that.
	Reinvokes() bool
}

// Validator refuses what may not be written.
type Validator interface {
	// Validate must not change the request but for its Warnings. It sees the object as
	// it will be stored, but for what the store adds. Errors are as for Mutate.
	Validate(ctx context.Context, r *Request) error
}

// Idler is an optional power of mutators and validators that mostly have nothing to do: while
// Idle is true they are not asked, and a request costs nothing for them.
type Idler interface {
	Idle() bool
}
