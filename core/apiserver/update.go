package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/managedfields"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// maxConflicts is how often a write that does not name a revision is made again because
// the object changed meanwhile.
const maxConflicts = 20

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// update replaces an object, or what a subresource has of it.
func (q *request) update() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true}); err != nil {
		return err
	}
	dryRun, err := q.writeOptions("")
	if err != nil {
		return err
	}
	body, err := q.decodeBody(q.kind.GVK)
	if err != nil {
		return err
	}
	meta, err := metaOf(body.Tree)
	if err != nil {
		return err
	}
	if name, _ := meta["name"].(string); name == "" {
		return q.errNoName()
	}
	rv, _ := meta["resourceVersion"].(string)
	if rv == "0" {
		rv = ""
	}
	if rv == "" && !q.kind.builtin {
		return apierrors.NewInvalid(schema.GroupKind{Group: q.kind.gr.Group, Kind: q.kind.gr.Resource}, q.route.name, field.ErrorList{
			field.Invalid(metaPath.Child("resourceVersion"), 0, "must be specified for an update")})
	}
	code := http.StatusOK
	var data []byte
	for try := 1; ; try++ {
		data, err = q.replaceWith(body, rv, dryRun)
		if !apierrors.IsNotFound(err) || !q.mayCreate() {
			break
		}
		if data, err = q.createNamed(body, dryRun); !apierrors.IsAlreadyExists(err) || try == maxConflicts {
			code = http.StatusCreated
			break
		}
	}
	if err != nil {
		return err
	}
	return q.respondObject(code, data)
}

// errNoName refuses an object without a name where there must be one.
func (q *request) errNoName() error {
	return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", q.route.name))
}

// errOtherName refuses an object that is not the one that the path names.
func (q *request) errOtherName(name string) error {
	return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", name, q.route.name))
}

// mayCreate reports whether an update of what does not exist creates it.
func (q *request) mayCreate() bool {
	return q.kind.Definition.AllowCreateOnUpdate && q.route.subresource == ""
}

// createNamed is an update that creates its object.
func (q *request) createNamed(body *jsontree.Object, dryRun bool) ([]byte, error) {
	if uid := uidOf(body.Tree); uid != "" {
		return nil, apierrors.NewConflict(q.kind.gr, q.route.name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: ", uid)) //nolint:staticcheck // upstream's message
	}
	if err := q.authorizeCreate(); err != nil {
		return nil, err
	}
	c, err := q.newChange(resource.Create, dryRun)
	if err != nil {
		return nil, err
	}
	c.Object, c.sent = jsontree.CopyMap(body.Tree), body.ManagedFields
	meta := jsontree.Map(c.Object, "metadata")
	if name, _ := meta["name"].(string); name != q.route.name {
		return nil, q.errOtherName(name)
	}
	delete(meta, "resourceVersion")
	return c.create(q.ctx, body.Duplicates)
}

// authorizeCreate asks whether who may change an object may also create it.
func (q *request) authorizeCreate() error {
	a := q.route.attributes(q.user)
	a.Verb = "create"
	return q.server.permitted(q.ctx, a)
}

// replaceWith puts a decoded object in the place of the stored one. It is made again
// after conflicts where the client names no revision.
func (q *request) replaceWith(body *jsontree.Object, rv string, dryRun bool) ([]byte, error) {
	return q.retry(rv == "", func(live store.Object) ([]byte, error) {
		c, err := q.newChange(resource.Update, dryRun)
		if err != nil {
			return nil, err
		}
		if err := c.setLive(live); err != nil {
			return nil, err
		}
		c.Object, c.sent = body.Tree, body.ManagedFields
		if rv == "" {
			// The tree may be used again, with another live object.
			c.Object = jsontree.CopyMap(body.Tree)
			jsontree.Map(c.Object, "metadata")["resourceVersion"] = revisionOf(live.Data)
		}
		return c.update(q.ctx, body.Duplicates)
	})
}

// retry reads the object and calls try with it, again while it changes under the write
// and again is true.
func (q *request) retry(again bool, try func(live store.Object) ([]byte, error)) ([]byte, error) {
	for n := 1; ; n++ {
		live, err := q.load(q.route.name)
		if err != nil {
			return nil, err
		}
		data, err := try(live)
		if err == nil || !errors.Is(err, store.ErrConflict) {
			if errors.Is(err, store.ErrNotFound) {
				err = apierrors.NewNotFound(q.kind.gr, q.route.name)
			}
			return data, err
		}
		if !again || n == maxConflicts {
			return nil, apierrors.NewConflict(q.kind.gr, q.route.name, errModified)
		}
		if err := q.ctx.Err(); err != nil {
			return nil, err
		}
		q.warnings = nil
	}
}

func (c *change) setLive(live store.Object) error {
	old, err := c.k.decodeStored(live.Data)
	if err != nil {
		return err
	}
	c.live, c.Old, c.liveManaged = live, old.Tree, old.ManagedFields
	return nil
}

// update takes an object that a client wants in place of c.Old the whole way. It returns
// an error that is store.ErrConflict where the object changed meanwhile.
func (c *change) update(ctx context.Context, duplicates []string) ([]byte, error) {
	meta, err := metaOf(c.Object)
	if err != nil {
		return nil, err
	}
	if name, _ := meta["name"].(string); name != "" && name != c.Name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", name, c.Name))
	}
	meta["name"] = c.Name
	if err := c.place(meta); err != nil {
		return nil, err
	}
	if err := c.preconditions(meta); err != nil {
		return nil, err
	}
	if err := c.decoded(ctx, duplicates); err != nil {
		return nil, err
	}
	c.keepParts()
	c.keepMeta()
	if !c.applied {
		t, err := c.k.tracker()
		if err != nil {
			return nil, err
		}
		if c.managed, err = t.Update(c.Old, c.Object, c.liveManaged, c.sent, c.writer); err != nil {
			return nil, err
		}
	}
	if err := c.mutate(ctx); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	c.bumpGeneration()
	unchanged := c.unchanged()
	if !unchanged {
		if err := c.validate(ctx); err != nil {
			return nil, err
		}
	}
	// What changes nothing may be refused all the same.
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	if unchanged {
		if err := c.q.sure(ctx); err != nil {
			return nil, err
		}
		if c.q.op != nil {
			if err := c.q.op.keep(c); err != nil {
				return nil, err
			}
		}
		return c.k.present(c.live.Data)
	}
	return c.replace(ctx)
}

func (c *change) preconditions(meta map[string]any) error {
	if uid, _ := meta["uid"].(string); uid != "" && uid != string(uidOf(c.Old)) {
		return apierrors.NewConflict(c.k.gr, c.Name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, uidOf(c.Old))) //nolint:staticcheck // upstream's message
	}
	rv, _ := meta["resourceVersion"].(string)
	if have := jsontree.String(c.Old, "metadata", "resourceVersion"); rv != "" && rv != have {
		if _, err := strconv.ParseUint(rv, 10, 64); err != nil {
			return errUnclassified(err.Error())
		}
		return apierrors.NewConflict(c.k.gr, c.Name, errModified)
	}
	return nil
}

// keepParts puts back what the request's subresource does not write: all but status for
// status, the status for the object itself.
func (c *change) keepParts() {
	switch {
	case c.Subresource == "status":
		status, ok := c.Object["status"]
		meta := jsontree.Map(c.Object, "metadata")
		c.Object = jsontree.CopyMap(c.Old)
		if c.k.builtin && meta != nil {
			// Upstream's own kinds take labels and annotations with a status too, core ones
			// finalizers.
			kept := jsontree.Map(c.Object, "metadata")
			fields := []string{"labels", "annotations"}
			if c.k.gr.Group == "" {
				fields = append(fields, "finalizers") // by which a cloud's controllers hold a Service
			}
			for _, f := range fields {
				if v, ok := meta[f]; ok {
					kept[f] = v
				} else {
					delete(kept, f)
				}
			}
		}
		if ok {
			c.Object["status"] = status
		} else {
			delete(c.Object, "status")
		}
	case c.Subresource == "" && c.k.Version.Status:
		if status, ok := c.Old["status"]; ok {
			c.Object["status"] = jsontree.Copy(status)
		} else {
			delete(c.Object, "status")
		}
	}
}

// keepMeta carries over the metadata that the server owns.
func (c *change) keepMeta() {
	meta, old := jsontree.Map(c.Object, "metadata"), jsontree.Map(c.Old, "metadata")
	for _, f := range [...]string{"resourceVersion", "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"} {
		if v, ok := old[f]; ok {
			meta[f] = v
		} else {
			delete(meta, f)
		}
	}
	delete(meta, "selfLink")
}

// bumpGeneration counts changes of what the object asks for: all beside metadata and
// status, and what the type's rule adds.
func (c *change) bumpGeneration() {
	meta := jsontree.Map(c.Object, "metadata")
	gen, ok := meta["generation"].(int64)
	if !ok || c.Subresource == "status" {
		return
	}
	if old, _ := jsontree.Get(c.Old, "metadata", "generation").(int64); old != gen {
		return // the type's own hooks count
	}
	old := jsontree.Map(c.Old, "metadata")
	same := sameSpec(c.Object, c.Old, c.k.Version.Status)
	switch c.k.Definition.Generation {
	case crd.GenerationAnnotations:
		same = same && jsontree.Equal(meta["annotations"], old["annotations"])
	case crd.GenerationLabels:
		same = same && jsontree.Equal(meta["labels"], old["labels"])
	}
	if !same {
		meta["generation"] = gen + 1
	}
}

func sameSpec(a, b map[string]any, status bool) bool {
	skip := func(f string) bool {
		return f == "metadata" || f == "apiVersion" || f == "kind" || status && f == "status"
	}
	for f, v := range a {
		if w, ok := b[f]; !skip(f) && (!ok || !jsontree.Equal(v, w)) {
			return false
		}
	}
	for f := range b {
		if _, ok := a[f]; !skip(f) && !ok {
			return false
		}
	}
	return true
}

// unchanged reports whether there is nothing to write.
func (c *change) unchanged() bool {
	return jsontree.Equal(c.Object, c.Old) && managedfields.Same(c.managed, c.liveManaged)
}

// replace writes the object, or removes it where it has only waited for its last
// finalizer.
func (c *change) replace(ctx context.Context) ([]byte, error) {
	if c.mayGo() {
		if _, err := c.remove(ctx); err != nil {
			return nil, err
		}
	}
	if c.DryRun && c.q.op == nil || c.mayGo() {
		w, err := c.encode()
		if err != nil {
			return nil, err
		}
		return c.k.present(c.unstored(w))
	}
	o, err := c.commit(ctx, resource.Update, store.Expectation(c.live.Revision))
	if err != nil {
		return nil, fmt.Errorf("update %s %q: %w", c.k.gr, c.Name, err)
	}
	return c.k.present(o.Data)
}

// mayGo reports whether an object that is being deleted has nothing left to wait for.
func (c *change) mayGo() bool {
	meta := jsontree.Map(c.Object, "metadata")
	if meta["deletionTimestamp"] == nil {
		return false
	}
	grace, _ := meta["deletionGracePeriodSeconds"].(int64)
	return grace == 0 && !c.k.pending(c.Object)
}

// pending reports whether an object has finalizers.
func (k *kind) pending(obj map[string]any) bool {
	if list, _ := jsontree.Get(obj, "metadata", "finalizers").([]any); len(list) > 0 {
		return true
	}
	if k.isNamespace {
		list, _ := jsontree.Get(obj, "spec", "finalizers").([]any)
		return len(list) > 0
	}
	return false
}

// remove deletes the object from the store.
func (c *change) remove(ctx context.Context) ([]byte, error) {
	if c.DryRun && c.q.op == nil {
		return c.k.present(c.live.Data)
	}
	o, err := c.commit(ctx, resource.Delete, store.Expectation(c.live.Revision))
	if err != nil {
		return nil, fmt.Errorf("delete %s %q: %w", c.k.gr, c.Name, err)
	}
	return c.k.present(o.Data)
}

func withoutString(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(v string) bool { return v == s })
}
