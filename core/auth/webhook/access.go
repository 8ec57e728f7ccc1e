package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/cache"
	"github.com/pintle-dev/pintle/core/internal/remote"
)

// Access asks a server what users may do.
type Access struct {
	name    string
	cfg     apiserver.WebhookConfiguration
	server  *remote.Server
	matcher *authorizationcel.CELMatcher
	answers *cache.Cache[string, authorizationv1.SubjectAccessReviewStatus]
	now     func() time.Time
}

var _ auth.Authorizer = (*Access)(nil)

// NewAccess reads the kubeconfig of a configuration that has been validated. matcher says
// which requests the server is asked about; nil means all. A nil clock means time.Now.
func NewAccess(name string, cfg apiserver.WebhookConfiguration, matcher *authorizationcel.CELMatcher, now func() time.Time) (*Access, error) {
	if cfg.ConnectionInfo.Type != apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile || cfg.ConnectionInfo.KubeConfigFile == nil {
		return nil, fmt.Errorf("authorizer %q: connectionInfo.type: must be %s", name, apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile)
	}
	server, err := remote.Open(*cfg.ConnectionInfo.KubeConfigFile, cfg.Timeout.Duration)
	if err != nil {
		return nil, fmt.Errorf("authorizer %q: %w", name, err)
	}
	if now == nil {
		now = time.Now
	}
	return &Access{name: name, cfg: cfg, server: server, matcher: matcher, now: now,
		answers: cache.New[string, authorizationv1.SubjectAccessReviewStatus](4096)}, nil
}

// maxCached bounds the attributes of a request whose answer is remembered, in bytes: who asks
// chooses them.
const maxCached = 10000

// Authorize implements auth.Authorizer.
func (w *Access) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	review := &authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: authorizationv1.GroupName + "/" + w.cfg.SubjectAccessReviewVersion},
		Spec:     specOf(&a),
	}
	if w.matcher != nil {
		ok, err := w.matcher.Eval(ctx, review)
		if err != nil {
			return false, "", w.failed(err)
		}
		if !ok {
			return false, "", nil
		}
	}
	key, err := json.Marshal(review.Spec)
	if err != nil {
		return false, "", w.failed(err)
	}
	status, ok := w.answers.Get(string(key), w.now())
	if !ok {
		if status, err = w.ask(ctx, review); err != nil {
			return false, "", w.failed(err)
		}
		w.remember(string(key), &a, status)
	}
	switch {
	case status.Denied && status.Allowed:
		return false, status.Reason, &auth.Denied{Err: errors.New("webhook subject access review returned both allow and deny response")}
	case status.Denied:
		return false, status.Reason, &auth.Denied{}
	}
	return status.Allowed, status.Reason, nil
}

// failed is an error as the failure policy has it.
func (w *Access) failed(err error) error {
	err = fmt.Errorf("authorizer %q: %w", w.name, err)
	if w.cfg.FailurePolicy == apiserver.FailurePolicyDeny {
		return &auth.Denied{Err: err}
	}
	return err
}

func (w *Access) remember(key string, a *auth.Attributes, st authorizationv1.SubjectAccessReviewStatus) {
	ttl, wanted := w.cfg.UnauthorizedTTL.Duration, w.cfg.CacheUnauthorizedRequests
	if st.Allowed {
		ttl, wanted = w.cfg.AuthorizedTTL.Duration, w.cfg.CacheAuthorizedRequests
	}
	size := 0
	for _, s := range []string{a.Namespace, a.Verb, a.Group, a.Version, a.Resource, a.Subresource, a.Name, a.Path} {
		size += len(s)
	}
	if wanted && ttl > 0 && size < maxCached {
		w.answers.Put(key, st, w.now().Add(ttl))
	}
}

// ask sends the review. v1 and v1beta1 differ in one name only.
func (w *Access) ask(ctx context.Context, review *authorizationv1.SubjectAccessReview) (authorizationv1.SubjectAccessReviewStatus, error) {
	var in any = review
	if w.cfg.SubjectAccessReviewVersion == "v1beta1" {
		in = betaReview(review)
	}
	var answer struct {
		Status authorizationv1.SubjectAccessReviewStatus `json:"status"`
	}
	err := w.server.PostRetry(ctx, remote.Backoff, in, &answer, remote.Transient)
	return answer.Status, err
}

func betaReview(review *authorizationv1.SubjectAccessReview) any {
	s := review.Spec
	return struct {
		metav1.TypeMeta `json:",inline"`
		Spec            any `json:"spec"`
	}{review.TypeMeta, struct {
		ResourceAttributes    *authorizationv1.ResourceAttributes    `json:"resourceAttributes,omitempty"`
		NonResourceAttributes *authorizationv1.NonResourceAttributes `json:"nonResourceAttributes,omitempty"`
		User                  string                                 `json:"user,omitempty"`
		Groups                []string                               `json:"group,omitempty"`
		Extra                 map[string]authorizationv1.ExtraValue  `json:"extra,omitempty"`
		UID                   string                                 `json:"uid,omitempty"`
	}{s.ResourceAttributes, s.NonResourceAttributes, s.User, s.Groups, s.Extra, s.UID}}
}

func specOf(a *auth.Attributes) authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{User: a.User.Name, UID: a.User.UID, Groups: a.User.Groups}
	for k, v := range a.User.Extra {
		if spec.Extra == nil {
			spec.Extra = make(map[string]authorizationv1.ExtraValue, len(a.User.Extra))
		}
		spec.Extra[k] = v
	}
	if a.Resource == "" {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: a.Path, Verb: a.Verb}
		return spec
	}
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: a.Namespace, Verb: a.Verb, Group: a.Group, Version: a.Version,
		Resource: a.Resource, Subresource: a.Subresource, Name: a.Name,
		FieldSelector: fieldSelector(a.FieldSelector), LabelSelector: labelSelector(a.LabelSelector),
	}
	return spec
}
