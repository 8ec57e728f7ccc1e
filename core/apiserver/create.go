package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// create stores a new object.
func (q *request) create() error {
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
	c, err := q.newChange(resource.Create, dryRun)
	if err != nil {
		return err
	}
	c.Object, c.sent = body.Tree, body.ManagedFields
	// A path may name a custom resource that does not exist yet. Upstream then takes any name in
	// the body, though it is the path's that was authorized.
	if name := jsontree.String(c.Object, "metadata", "name"); q.route.name != "" && name != q.route.name {
		return q.errOtherName(name)
	}
	data, err := c.create(q.ctx, body.Duplicates)
	if err != nil {
		return err
	}
	return q.respondObject(http.StatusCreated, data)
}

// create takes a decoded object the whole way and returns it as it is served.
func (c *change) create(ctx context.Context, duplicates []string) ([]byte, error) {
	if c.k.Definition.Terminating {
		e := apierrors.NewMethodNotSupported(c.k.gr, "create")
		e.ErrStatus.Message = "create not allowed while custom resource definition is terminating"
		return nil, e
	}
	meta, err := metaOf(c.Object)
	if err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name, _ = meta["name"].(string)
	}
	if err := c.decoded(ctx, duplicates); err != nil {
		return nil, err
	}
	if meta, err = metaOf(c.Object); err != nil {
		return nil, err
	}
	if err := c.placeNew(meta); err != nil {
		return nil, err
	}
	if c.k.namespaced && !c.k.isNamespace {
		if err := c.q.server.checkNamespace(ctx, c.k, c.Namespace, c.Name); err != nil {
			return nil, err
		}
	}
	if !c.applied {
		t, err := c.k.tracker()
		if err != nil {
			return nil, err
		}
		c.managed = t.Create(c.Object, c.sent, c.writer)
	}
	if err := c.mutate(ctx); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	if err := c.validate(ctx); err != nil {
		return nil, err
	}
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	return c.store(ctx)
}

// placeNew sets the metadata that the server owns.
func (c *change) placeNew(meta map[string]any) error {
	if rv, _ := meta["resourceVersion"].(string); rv != "" && rv != "0" {
		return errUnclassified("resourceVersion should not be set on objects to be created")
	}
	for _, f := range [...]string{"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"} {
		delete(meta, f)
	}
	if err := c.place(meta); err != nil {
		return err
	}
	meta["uid"] = uuid.NewString()
	meta["creationTimestamp"] = c.q.server.now()
	if _, hasSpec := c.Object["spec"]; c.k.counted(hasSpec) {
		meta["generation"] = int64(1)
	}
	if c.k.Version.Status && !c.k.builtin {
		delete(c.Object, "status")
	}
	if name, _ := meta["name"].(string); name == "" {
		if base, _ := meta["generateName"].(string); base != "" {
			c.Name, c.generated = generateName(base), true
			meta["name"] = c.Name
		}
	}
	return nil
}

// place makes an object's namespace agree with the request's.
func (c *change) place(meta map[string]any) error {
	have, _ := meta["namespace"].(string)
	switch {
	case !c.k.namespaced:
		if have != "" {
			return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
		}
		delete(meta, "namespace")
	case have == "":
		meta["namespace"] = c.Namespace
	case have != c.Namespace:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

const (
	maxGeneratedBase = 58
	generateTries    = 8
)

func generateName(base string) string {
	return base[:min(len(base), maxGeneratedBase)] + rand.String(5)
}

// store writes a new object; names that were made up are made up again where they are
// taken.
func (c *change) store(ctx context.Context) ([]byte, error) {
	base := ""
	if meta := jsontree.Map(c.Object, "metadata"); c.q.route.name == "" {
		base, _ = meta["generateName"].(string)
		if name, _ := meta["name"].(string); base != "" && len(name) != min(len(base), maxGeneratedBase)+5 {
			base = ""
		}
	}
	for try := 1; ; try++ {
		if c.DryRun && c.q.op == nil {
			return c.storeDry(ctx)
		}
		o, err := c.commit(ctx, resource.Create, store.MustNotExist)
		if err == nil {
			return c.k.present(o.Data)
		}
		if base == "" || try == generateTries || !errors.Is(err, store.ErrExists) {
			return nil, c.createError(err)
		}
		c.Name = generateName(base)
		jsontree.Map(c.Object, "metadata")["name"] = c.Name
	}
}

// storeDry is store without a write.
func (c *change) storeDry(ctx context.Context) ([]byte, error) {
	w, err := c.encode()
	if err != nil {
		return nil, err
	}
	_, err = c.q.server.cfg.Store.Get(ctx, w.Key)
	if errors.Is(err, store.ErrNotFound) {
		return c.k.present(c.unstored(w))
	}
	if err == nil {
		err = store.ErrExists
	}
	return nil, c.createError(err)
}

func (c *change) createError(err error) error {
	if errors.Is(err, store.ErrExists) {
		return apierrors.NewAlreadyExists(c.k.gr, c.Name)
	}
	return fmt.Errorf("create %s %q: %w", c.k.gr, c.Name, err)
}

// metaOf returns an object's metadata, made where it is absent.
func metaOf(tree map[string]any) (map[string]any, error) {
	switch m := tree["metadata"].(type) {
	case map[string]any:
		return m, nil
	case nil:
		meta := map[string]any{}
		tree["metadata"] = meta
		return meta, nil
	}
	return nil, apierrors.NewBadRequest("metadata: Invalid value: must be an object")
}

// checkNamespace refuses new objects in namespaces that do not exist or are on their way
// out.
func (s *Server) checkNamespace(ctx context.Context, k *kind, namespace, name string) error {
	gvr := s.cfg.NamespaceResource
	if gvr.Empty() {
		return nil
	}
	t, ok := s.cfg.Registry.Lookup(gvr)
	if !ok {
		return nil
	}
	o, err := s.get(ctx, store.Key(t.Bucket+"//"+namespace))
	if errors.Is(err, store.ErrNotFound) {
		return apierrors.NewNotFound(gvr.GroupResource(), namespace)
	}
	if err != nil {
		return fmt.Errorf("read namespace %q: %w", namespace, err)
	}
	if !gjson.GetBytes(o.Data, "metadata.deletionTimestamp").Exists() {
		return nil
	}
	e := apierrors.NewForbidden(k.gr, name, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", namespace))
	e.ErrStatus.Details.Causes = append(e.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: namespaceTerminating, Message: fmt.Sprintf("namespace %s is being terminated", namespace), Field: "metadata.namespace"})
	return e
}

// namespaceTerminating is core/v1's NamespaceTerminatingCause.
const namespaceTerminating metav1.CauseType = "NamespaceTerminating"
