package apiserver

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	listvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The options of a request are what its query says. They are judged before its body is.

func metaKind(kind string) runtimeschema.GroupKind {
	return runtimeschema.GroupKind{Group: "meta.k8s.io", Kind: kind}
}

// writeOptions judges the options of a create, an update or a patch (of a type, else ""),
// and reports whether it asks for no effect.
func (q *request) writeOptions(patch types.PatchType) (dryRun bool, err error) {
	if len(q.query) == 0 && patch != types.ApplyPatchType {
		return false, nil
	}
	var errs field.ErrorList
	kind := "CreateOptions"
	o := metav1.CreateOptions{DryRun: q.query["dryRun"], FieldManager: q.query.Get("fieldManager"), FieldValidation: q.query.Get("fieldValidation")}
	switch q.route.verb {
	case "update":
		kind = "UpdateOptions"
		errs = metav1validation.ValidateUpdateOptions(&metav1.UpdateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation})
	case "patch":
		kind = "PatchOptions"
		p := &metav1.PatchOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
		if q.query.Has("force") {
			force := queryTrue(q.query, "force")
			p.Force = &force
		}
		errs = metav1validation.ValidatePatchOptions(p, patch)
	default:
		errs = metav1validation.ValidateCreateOptions(&o)
	}
	if len(errs) > 0 {
		return false, apierrors.NewInvalid(metaKind(kind), "", errs)
	}
	return len(o.DryRun) > 0, nil
}

// listOptions reads and judges the options of a list or a watch.
func (q *request) listOptions() (metav1.ListOptions, error) {
	var o metav1.ListOptions
	if len(q.query) == 0 {
		return o, nil
	}
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&q.query, &o, nil); err != nil {
		return o, apierrors.NewBadRequest(err.Error())
	}
	o.Watch = q.route.verb == "watch"
	errs := listvalidation.ValidateListOptions(&internalversion.ListOptions{
		Watch: o.Watch, ResourceVersion: o.ResourceVersion, ResourceVersionMatch: o.ResourceVersionMatch, Continue: o.Continue,
		SendInitialEvents: o.SendInitialEvents, AllowWatchBookmarks: o.AllowWatchBookmarks,
	}, true)
	if o.Watch && o.Continue != "" {
		errs = append(errs, field.Forbidden(field.NewPath("resourceVersionMatch"), "resourceVersionMatch is forbidden when continue is provided"))
	}
	if len(errs) > 0 {
		return o, apierrors.NewInvalid(metaKind("ListOptions"), "", errs)
	}
	return o, nil
}

// queryTrue reports whether a parameter is true as upstream reads it: everything is but
// "false" and "0".
func queryTrue(query url.Values, name string) bool {
	v, ok := query[name]
	if !ok {
		return false
	}
	return len(v) == 0 || v[0] != "0" && !strings.EqualFold(v[0], "false")
}

// timeout of a request: its own wish, within the limit.
func (s *Server) timeout(query url.Values) (time.Duration, error) {
	limit := s.cfg.Limits.RequestTimeout
	text := query.Get("timeout")
	if text == "" {
		return limit, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("invalid timeout specified in the request URL - %v", err))
	}
	if d <= 0 || d > limit {
		d = limit
	}
	return d, nil
}
