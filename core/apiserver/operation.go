package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// transaction is a request's operations on their way.
type transaction struct {
	outer  *request
	ops    []*operation
	dryRun bool
	// doomed is set once an operation was refused: the others are only judged.
	doomed bool

	mu sync.Mutex // hooks may read from goroutines of their own
	// views are the staged writes by the object.
	views map[store.Key]*staged
}

// operation is one write of a transaction.
type operation struct {
	tx    *transaction
	index int
	spec  *corev1.Operation

	// q is the request that the operation would be, record its audit.
	q      *request
	record *audit.Record
	// body is what the request carries, target what it is for.
	body   []byte
	target string
	code   int
	err    error

	// main is the operation's own write; writes are all, with those of its type's hooks.
	main   *staged
	writes []*staged
}

// staged is a write that waits for the rest of its transaction.
type staged struct {
	op     *operation
	change *change
	what   resource.Operation
	write  store.Write
	// view is the object as the rest of the transaction sees it, without Data where it is
	// deleted; result as it is answered.
	view, result store.Object
	end          func(context.Context, error) error
}

func (w *staged) outcome() string {
	switch {
	case w.write.Check:
		return corev1.Unchanged
	case w.write.Delete:
		return corev1.Deleted
	case w.what == resource.Create:
		return corev1.Created
	case w.change.Operation == resource.Delete:
		return corev1.Terminating
	}
	return corev1.Updated
}

type operationKey struct{}

// operationOf finds the operation that ctx belongs to. It costs nothing while there are no
// transactions.
func (s *Server) operationOf(ctx context.Context) *operation {
	if s.transactions.Load() == 0 {
		return nil
	}
	o, _ := ctx.Value(operationKey{}).(*operation)
	return o
}

// try does the operation up to its write.
func (o *operation) try(ctx context.Context) error {
	s := o.tx.outer.server
	r, err := o.request(ctx)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	rt := parseRoute(r, query)
	o.target = r.URL.Path
	user := o.tx.outer.user
	ctx = context.WithValue(ctx, operationKey{}, o)
	if s.cfg.Audit != nil {
		if o.record == nil {
			if err := o.beginAudit(r, &rt); err != nil {
				return err
			}
		}
		ctx = audit.NewContext(ctx, o.record)
	}
	if err := s.authorize(ctx, rt.attributes(user)); err != nil {
		return err
	}
	k, ok := s.lookup(rt.gvr)
	if !ok {
		return errNoRoute()
	}
	if k.Definition.Virtual {
		return apierrors.NewMethodNotSupported(k.gr, rt.verb+" in a transaction")
	}
	r = r.WithContext(ctx)
	o.q = &request{server: s, r: r, ctx: ctx, route: rt, query: query, user: user, kind: k, op: o}
	if err := o.q.checkRoute(); err != nil {
		return err
	}
	if err := o.q.dispatch(); err != nil {
		return err
	}
	if o.main == nil {
		return apierrors.NewInternalError(fmt.Errorf("%s has staged no write", o.describe()))
	}
	return nil
}

// request makes the request that the operation would be by itself.
func (o *operation) request(ctx context.Context) (*http.Request, error) {
	if o.q != nil {
		r := o.q.r.Clone(ctx)
		return o.arm(r), nil
	}
	spec := o.spec
	body := spec.Object
	if len(body) == 0 && spec.PatchType == types.ApplyYAMLPatchType {
		body = spec.Patch
	}
	var object metav1.PartialObjectMetadata
	if len(body) > 0 {
		if err := json.Unmarshal(body, &object); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the object is no object: %v", err))
		}
	}
	t, err := o.typeOf(object.TypeMeta)
	if err != nil {
		return nil, err
	}
	namespace, err := o.agree("namespace", spec.Namespace, object.Namespace)
	if err != nil {
		return nil, err
	}
	name, err := o.agree("name", spec.Name, object.Name)
	if err != nil {
		return nil, err
	}
	if t.namespaced && namespace == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("a %s needs a namespace", t.GVK.Kind))
	}
	path := "/apis/" + t.GVR.Group + "/" + t.GVR.Version
	if t.GVR.Group == "" {
		path = "/api/" + t.GVR.Version
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	path += "/" + t.GVR.Resource
	switch {
	case spec.Verb == corev1.Create:
		if spec.Name != "" && object.Name == "" {
			return nil, apierrors.NewBadRequest("the name of an object to be created belongs in its metadata")
		}
	case name == "":
		return nil, apierrors.NewBadRequest("the object has no name")
	default:
		path += "/" + name
	}
	if strings.Count(namespace+name, "/") > 0 {
		return nil, apierrors.NewBadRequest("a name or namespace may not contain '/'")
	}
	if spec.Subresource != "" {
		path += "/" + spec.Subresource
	}
	r := &http.Request{Proto: "HTTP/2.0", ProtoMajor: 2, Host: o.tx.outer.r.Host, RemoteAddr: o.tx.outer.r.RemoteAddr,
		URL: &url.URL{Path: path, RawQuery: o.query().Encode()},
		Header: http.Header{"User-Agent": o.tx.outer.r.Header["User-Agent"], "Accept": {"application/json"}, "Content-Type": {"application/json"},
			"X-Forwarded-For": o.tx.outer.r.Header["X-Forwarded-For"], "X-Real-Ip": o.tx.outer.r.Header["X-Real-Ip"]}}
	if o.body, err = o.encodeBody(r); err != nil {
		return nil, err
	}
	return o.arm(r.WithContext(ctx)), nil
}

// arm gives the request its body, and makes it one without effects where the transaction will
// not be done anyway.
func (o *operation) arm(r *http.Request) *http.Request {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(o.body)), int64(len(o.body))
	query := o.query()
	if o.tx.dryRun || o.tx.doomed {
		query.Set("dryRun", metav1.DryRunAll)
	}
	r.URL.RawQuery = query.Encode()
	return r
}

// query has the options of the transaction and those of the operation.
func (o *operation) query() url.Values {
	v := url.Values{}
	for _, name := range [...]string{"fieldManager", "fieldValidation"} {
		if s := o.tx.outer.query.Get(name); s != "" && o.spec.Verb != corev1.Delete {
			v.Set(name, s)
		}
	}
	if opts := o.spec.Options; opts != nil {
		if opts.FieldManager != "" {
			v.Set("fieldManager", opts.FieldManager)
		}
		if opts.FieldValidation != "" {
			v.Set("fieldValidation", opts.FieldValidation)
		}
		if opts.Force {
			v.Set("force", strconv.FormatBool(true))
		}
	}
	return v
}

// encodeBody sets the request's method and returns its body.
func (o *operation) encodeBody(r *http.Request) ([]byte, error) {
	switch o.spec.Verb {
	case corev1.Create:
		r.Method = http.MethodPost
		return o.spec.Object, nil
	case corev1.Update:
		r.Method = http.MethodPut
		return o.spec.Object, nil
	case corev1.Patch:
		r.Method = http.MethodPatch
		r.Header["Content-Type"] = []string{string(o.spec.PatchType)}
		if len(o.spec.Patch) > 0 {
			return o.spec.Patch, nil
		}
		if o.spec.PatchType != types.ApplyYAMLPatchType {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("a patch of the type %s is in patch, not in object", o.spec.PatchType))
		}
		return o.spec.Object, nil
	}
	r.Method = http.MethodDelete
	opts := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"}, Preconditions: o.spec.Preconditions}
	if given := o.spec.Options; given != nil {
		opts.GracePeriodSeconds, opts.PropagationPolicy = given.GracePeriodSeconds, given.PropagationPolicy
	}
	return json.Marshal(&opts)
}

// typeOf finds the operation's type.
func (o *operation) typeOf(of metav1.TypeMeta) (*kind, error) {
	version, err := o.agree("apiVersion", o.spec.APIVersion, of.APIVersion)
	if err != nil {
		return nil, err
	}
	name, err := o.agree("kind", o.spec.Kind, of.Kind)
	if err != nil {
		return nil, err
	}
	s := o.tx.outer.server
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("apiVersion: %v", err))
	}
	gvr := gv.WithResource(o.spec.Resource)
	if o.spec.Resource == "" {
		t, ok := s.cfg.Registry.LookupKind(gv.WithKind(name))
		if !ok {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("no kind %q is served in version %q; a type that the transaction itself defines can't be used in it", name, version))
		}
		gvr = t.GVR
	}
	k, ok := s.lookup(gvr)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("no resource %q is served in version %q", o.spec.Resource, version))
	}
	return k, nil
}

// agree settles what the operation and its object may both say.
func (o *operation) agree(what, said, object string) (string, error) {
	if said != "" && object != "" && said != object {
		return "", apierrors.NewBadRequest(fmt.Sprintf("the operation's %s is %q and its object's %q", what, said, object))
	}
	if said == "" {
		return object, nil
	}
	return said, nil
}

// describe names the operation to people.
func (o *operation) describe() string {
	if o.q == nil || o.q.kind == nil {
		if o.target != "" {
			return o.spec.Verb + " " + o.target
		}
		return strings.TrimSpace(o.spec.Verb + " " + o.spec.Kind + o.spec.Resource)
	}
	name := o.q.route.name
	if o.main != nil {
		name = o.main.change.Name
	} else if name == "" {
		var object metav1.PartialObjectMetadata
		_ = json.Unmarshal(o.body, &object) // it has been read before
		name = object.Name
	}
	text := fmt.Sprintf("%s %s %q", o.spec.Verb, o.q.kind.gr, name)
	if ns := o.q.route.namespace; ns != "" {
		text += fmt.Sprintf(" in namespace %q", ns)
	}
	return text
}

// required refuses a stored object that does not meet the operation's preconditions.
func (o *operation) required(k *kind, name string, live store.Object) error {
	p := o.spec.Preconditions
	if p == nil {
		return nil
	}
	if uid := uidOfBytes(live.Data); p.UID != nil && *p.UID != uid {
		return apierrors.NewConflict(k.gr, name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, uid)) //nolint:staticcheck // upstream's message
	}
	if rv := revisionOf(live.Data); p.ResourceVersion != nil && *p.ResourceVersion != rv {
		return apierrors.NewConflict(k.gr, name, fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, rv)) //nolint:staticcheck // upstream's message
	}
	return nil
}

// beginAudit makes the record of the operation, which is an event of its own.
func (o *operation) beginAudit(r *http.Request, rt *route) error {
	outer := o.tx.outer
	id := audit.SetID(outer.w, outer.r)
	r.Header[audit.HeaderID] = []string{fmt.Sprintf("%s-%d", id, o.index)}
	var err error
	if o.record, err = outer.server.cfg.Audit.Begin(headerOnly{}, r, rt.attributes(outer.user), time.Now(), false); err != nil {
		return errNotAudited()
	}
	o.record.Annotate(annotationTransaction, id)
	return nil
}

// annotationTransaction, in the audit event of an operation, is the ID of its transaction's.
const annotationTransaction = corev1.Group + "/transaction"

func (o *operation) auditDone(object []byte) {
	if o.record != nil {
		o.record.Response(object)
		o.record.Done(o.code, nil)
	}
}

// auditRefused ends the records of a transaction that was not done.
func (t *transaction) auditRefused(err error) {
	for _, o := range t.ops {
		if o.record == nil {
			continue
		}
		st := toStatus(err)
		if o.err != nil {
			st = toStatus(o.err)
		}
		o.record.Status(st)
		o.record.Done(int(st.Code), nil)
	}
}

// headerOnly is a response that nobody gets.
type headerOnly http.Header

func (h headerOnly) Header() http.Header         { return http.Header(h) }
func (h headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h headerOnly) WriteHeader(int)             {}

// retriable reports whether a staged write that was refused may be made anew of the object as
// it is by now. An object that was to be created under a name that is taken may not.
func (w *staged) retriable(err error) bool {
	c := w.change
	if w == w.op.main && w.what == resource.Create && errors.Is(err, store.ErrExists) {
		return w.op.spec.Verb != corev1.Create || c.generated
	}
	return true
}
