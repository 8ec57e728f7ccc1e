package apiserver

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/store"
)

// unsafeDelete is the verb that who deletes what can't be read must be allowed.
const unsafeDelete = "unsafe-delete-ignore-read-errors"

// ignoreReadErrors is the option that asks for it.
const ignoreReadErrors = "ignoreStoreReadErrorWithClusterBreakingPotential"

func ignoresReadErrors(opts *metav1.DeleteOptions) bool {
	o := opts.IgnoreStoreReadErrorWithClusterBreakingPotential
	return o != nil && *o
}

// deleteUnreadable removes an object that can't be read, because the key it is encrypted with is
// lost: nobody can know its finalizers, and no admission can judge it.
func (q *request) deleteUnreadable() error {
	if q.op != nil {
		return apierrors.NewBadRequest(ignoreReadErrors + ": a transaction can't do that")
	}
	a := q.route.attributes(q.user)
	a.Verb = unsafeDelete
	if err := q.server.authorize(q.ctx, a); err != nil {
		return err
	}
	name := q.route.name
	if _, err := q.load(name); !errors.Is(err, store.ErrSealed) {
		if apierrors.IsNotFound(err) {
			return err
		}
		return apierrors.NewInvalid(runtimeschema.GroupKind{Group: q.kind.gr.Group, Kind: q.kind.gr.Resource}, name, field.ErrorList{
			field.Invalid(field.NewPath(ignoreReadErrors), true, "is exclusively used to delete corrupt object(s), try again by removing this option"),
		})
	}
	_, err := q.server.cfg.Store.Write(q.ctx, store.Write{
		Key: q.kind.key(q.route.namespace, name), RevisionAt: -1, Delete: true, Expect: store.Any,
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	q.server.cfg.Logger.Warn("An object that could not be read was deleted", "resource", q.kind.gr, "namespace", q.route.namespace, "name", name, "user", q.user.Name)
	return q.respondSuccess(http.StatusOK, &metav1.StatusDetails{Name: name, Group: q.kind.gr.Group, Kind: q.kind.gr.Resource})
}
