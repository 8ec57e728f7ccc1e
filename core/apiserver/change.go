package apiserver

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/managedfields"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// change is one write of an object on its way: what hooks see of it, and what they don't.
type change struct {
	resource.Request
	q        *request
	k        *kind
	compiled *schema.Compiled
	writer   managedfields.Writer

	// live is the stored object, with its managedFields.
	live        store.Object
	liveManaged []byte
	// sent are the managedFields that came with the request, managed those to be
	// stored. applied says that server-side apply has already made them.
	sent, managed []byte
	applied       bool
	// patch, where the object was made by one, is how an error about it shows it.
	patch func() string

	// generated says that the name was made of a generateName.
	generated bool
	// scaled is the Scale before a write of the scale subresource, which admission is shown
	// in place of the object.
	scaled map[string]any

	// empties are the empty lists and maps that the client has sent.
	empties []schema.Empty

	// internal writes are the server's own: no admission is done.
	internal bool
	// options of the operation, as admission sees them.
	options map[string]any
}

func (q *request) newChange(op resource.Operation, dryRun bool) (*change, error) {
	compiled, err := q.kind.Compiled()
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", q.kind.GVK, err)
	}
	return &change{q: q, k: q.kind, compiled: compiled, writer: q.writer(), internal: q.internal, Request: resource.Request{
		Operation: op, Resource: q.kind.GVR, Kind: q.kind.GVK, Subresource: q.route.subresource,
		Namespace: q.route.namespace, Name: q.route.name, DryRun: dryRun, User: q.user, Reader: q.server.reader,
	}}, nil
}

// decoded settles the object as if it had been decoded into its type: unknown fields are
// gone, defaults are set.
func (c *change) decoded(ctx context.Context, duplicates []string) error {
	unknown, empties, err := c.compiled.NormalizeNoting(c.Object)
	if err != nil {
		var mistyped *schema.DecodeError
		if errors.As(err, &mistyped) && c.patch != nil {
			return c.badPatch(err.Error())
		}
		if mistyped != nil {
			return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", c.Kind.Kind, c.Kind.Version, c.Kind.Kind, err))
		}
		return fmt.Errorf("decode %s: %w", c.Kind, err)
	}
	if problem, err := c.q.checkFields(duplicates, unknown); err != nil {
		return err
	} else if problem != "" && c.patch != nil {
		return c.badPatch(problem)
	} else if problem != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %s", c.Kind.Kind, c.Kind.Version, c.Kind.Kind, problem))
	}
	c.compiled.Default(c.Object)
	if c.k.defaulter != nil {
		if err := c.k.defaulter.Default(ctx, &c.Request); err != nil {
			return hookError(err)
		}
	}
	c.empties = empties
	c.dropEmpties()
	return nil
}

// dropEmpties takes out what is as good as none where it is stored.
func (c *change) dropEmpties() {
	for _, e := range c.empties {
		e.Drop()
	}
}

// hookError passes errors with a status through; a list of field errors is left to the
// caller.
func hookError(err error) error {
	var st apierrors.APIStatus
	if errors.As(err, &st) {
		return err
	}
	return apierrors.NewInternalError(err)
}

// admitKind lets the type's own hooks admit the object.
func (c *change) admitKind(ctx context.Context) error {
	if c.k.admitter == nil {
		return nil
	}
	if err := c.k.admitter.Admit(ctx, &c.Request); err != nil {
		return hookError(err)
	}
	return nil
}

func (c *change) prepare(ctx context.Context) error {
	if c.k.preparer == nil {
		return nil
	}
	if err := c.k.preparer.Prepare(ctx, &c.Request); err != nil {
		return hookError(err)
	}
	return nil
}

func (c *change) validate(ctx context.Context) error {
	for _, e := range c.empties {
		e.Restore() // what is empty may be refused where none is not
	}
	defer c.dropEmpties()
	errs := validateMeta(c.k, c.Object, c.Old)
	errs = append(errs, c.compiled.Validate(ctx, c.Object, c.Old)...)
	if c.k.validator != nil {
		for _, e := range c.k.validator.Validate(ctx, &c.Request) {
			if e.Type == field.ErrorTypeInternal {
				return c.k.hookFailed(e)
			}
			errs = append(errs, e)
		}
	}
	if !c.k.builtin {
		errs = append(errs, c.k.Version.Scale.Validate(c.Object)...)
	}
	if len(errs) == 0 {
		return nil
	}
	c.q.warn(c.Warnings...)
	return c.invalid(distinct(errs))
}

// distinct drops errors that schema and hooks both report. Of what is not supported the
// hooks know better what is.
func distinct(errs field.ErrorList) field.ErrorList {
	if len(errs) < 2 {
		return errs
	}
	seen, unsupported := map[string]bool{}, map[string]int{}
	out := errs[:0]
	for _, e := range errs {
		if seen[e.Error()] {
			continue
		}
		seen[e.Error()] = true
		if e.Type == field.ErrorTypeNotSupported {
			if i, ok := unsupported[e.Field]; ok {
				out[i] = e
				continue
			}
			unsupported[e.Field] = len(out)
		}
		out = append(out, e)
	}
	return out
}

func (c *change) invalid(errs field.ErrorList) error {
	name := jsontree.String(c.Object, "metadata", "name")
	return apierrors.NewInvalid(c.Kind.GroupKind(), name, errs)
}

// encode returns what is to be stored.
func (c *change) encode() (store.Write, error) {
	data, at, err := c.k.encodeForStore(c.Object, c.managed)
	if err != nil {
		return store.Write{}, err
	}
	return store.Write{Key: c.k.key(c.Namespace, c.Name), Data: data, RevisionAt: at}, nil
}

// unstored returns the bytes of a write as a dry run shows them: with the revision of the
// object before, if there was one.
func (c *change) unstored(w store.Write) []byte {
	const name = `"resourceVersion":"`
	if rv := revisionOf(c.live.Data); rv != "" {
		out := append(make([]byte, 0, len(w.Data)+len(rv)), w.Data[:w.RevisionAt]...)
		return append(append(out, rv...), w.Data[w.RevisionAt:]...)
	}
	start, end := w.RevisionAt-len(name), w.RevisionAt+1
	switch {
	case w.Data[end] == ',':
		end++
	case w.Data[start-1] == ',':
		start--
	}
	return append(append(make([]byte, 0, len(w.Data)), w.Data[:start]...), w.Data[end:]...)
}
