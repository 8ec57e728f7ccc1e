package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// testAdmission does what data.mutate and data.validate of the objects say. Its declaration is
// in its environment.
type testAdmission struct{ base }

var (
	_ admission.Admission = (*testAdmission)(nil)
	_ admission.Mutator   = (*testAdmission)(nil)
	_ admission.Validator = (*testAdmission)(nil)
)

func (*testAdmission) Declare() admission.Declaration {
	d := admission.Declaration{
		FailurePolicy: admission.FailurePolicy(os.Getenv("TEST_POLICY")), SideEffects: admission.SideEffects(os.Getenv("TEST_EFFECTS")),
		Reinvoke: os.Getenv("TEST_REINVOKE") != "",
		Rules: []admission.Rule{{
			APIGroups: []string{"*"}, Resources: []string{"*"}, Operations: []resource.Operation{admission.AllOperations},
		}},
	}
	if t, err := time.ParseDuration(os.Getenv("TEST_TIMEOUT")); err == nil {
		d.Timeout = t
	}
	return d
}

func told(r *admission.Request, key string) string {
	object := r.Object
	if object == nil {
		object = r.Old
	}
	data, _ := object["data"].(map[string]any)
	s, _ := data[key].(string)
	return s
}

func (a *testAdmission) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	meta, ok := r.Object["metadata"].(map[string]any)
	if !ok {
		return false, nil
	}
	switch do := told(r, "mutate"); do {
	case "nothing":
		return false, nil
	case "hang":
		time.Sleep(time.Hour) // deaf to its context
	case "die":
		os.Exit(7)
	case "uid":
		meta["uid"] = "another"
	case "kind":
		r.Object["kind"] = "Another"
	case "name":
		meta["name"] = "another"
	case "huge":
		r.Object["data"] = map[string]any{"huge": strings.Repeat("x", 9<<20)}
	case "refuse":
		return false, errors.New("not today")
	case "read":
		ns, err := r.Reader.Get(ctx, schema.GroupResource{Resource: "namespaces"}, "", r.Namespace)
		if err != nil {
			return false, err
		}
		list, err := r.Reader.List(ctx, schema.GroupResource{Resource: "namespaces"}, "")
		if err != nil {
			return false, err
		}
		meta["labels"] = map[string]any{"read": ns["metadata"].(map[string]any)["name"], "count": fmt.Sprint(len(list))}
	default:
		labels, _ := meta["labels"].(map[string]any)
		if labels == nil {
			labels = map[string]any{}
			meta["labels"] = labels
		}
		labels[a.name] = "was-here"
		if r.Round > 0 {
			labels[a.name] = "twice"
		}
	}
	return true, nil
}

func (a *testAdmission) Validate(_ context.Context, r *admission.Request) error {
	switch do := told(r, "validate"); do {
	case "hang":
		time.Sleep(time.Hour)
	case "die":
		os.Exit(7)
	case "refuse":
		return fmt.Errorf("%s may not %s this", r.User.Name, strings.ToLower(string(r.Operation)))
	case "conflict":
		return apierrors.NewConflict(r.Resource.GroupResource(), r.Name, errors.New("somebody was faster"))
	case "nothing said":
		return &apierrors.StatusError{}
	case "warn":
		r.Warnings = append(r.Warnings, "this is frowned upon")
		r.Annotate("seen-by", a.name)
	case "dry":
		if r.DryRun {
			return errors.New("it is a dry run")
		}
	case "options":
		return fmt.Errorf("options %v", r.Options)
	}
	return nil
}

// garbageAdmission answers what no SDK would.
type garbageAdmission struct {
	pluginv1.UnimplementedAdmissionServer
}

func garbagePoint() plugin.Point {
	return plugin.Point{Name: "admission", Versions: []int32{1}, Register: func(s grpc.ServiceRegistrar, _ plugin.Host) {
		pluginv1.RegisterAdmissionServer(s, garbageAdmission{})
	}}
}

func (garbageAdmission) Declare(context.Context, *pluginv1.DeclareRequest) (*pluginv1.DeclareResponse, error) {
	return &pluginv1.DeclareResponse{
		Rules: []*pluginv1.AdmissionRule{{ApiGroups: []string{"*"}, Resources: []string{"*"}}},
		Steps: []pluginv1.ReviewStep{pluginv1.ReviewStep_REVIEW_STEP_MUTATE},
	}, nil
}

func (garbageAdmission) Reviews(stream grpc.BidiStreamingServer[pluginv1.ReviewsRequest, pluginv1.ReviewsResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, r := range m.GetReviews() {
			out := &pluginv1.ReviewResult{Id: r.GetId()}
			switch object := string(r.GetRequest().GetObject()); {
			case strings.Contains(object, "say-list"):
				out.Object = []byte(`[1,2]`)
			case strings.Contains(object, "say-noise"):
				out.Object = []byte("\x00\xff")
			case strings.Contains(object, "say-empty"):
				out.Object = []byte(`{}`)
			case strings.Contains(object, "say-status"):
				out.Status = []byte(`"no"`)
			case strings.Contains(object, "say-warnings"):
				out.Warnings = make([]string, 1000)
			case strings.Contains(object, "say-annotation"):
				out.Annotations = map[string]string{"a": strings.Repeat("x", 1<<20)}
			case strings.Contains(object, "say-another"):
				out.Id += 1000
				if err := stream.Send(&pluginv1.ReviewsResponse{Results: []*pluginv1.ReviewResult{out}, Reads: []*pluginv1.Read{{Id: 1, Call: 99999}}}); err != nil {
					return err
				}
				out = &pluginv1.ReviewResult{Id: r.GetId()}
			}
			if err := stream.Send(&pluginv1.ReviewsResponse{Results: []*pluginv1.ReviewResult{out}}); err != nil {
				return err
			}
		}
	}
}

// testAccess knows tokens "user:NAME" and "group:NAME", and allows what is named after the user.
type testAccess struct{ base }

func (*testAccess) AuthenticateToken(_ context.Context, t authentication.Token) (authentication.Response, bool, error) {
	kind, name, _ := strings.Cut(t.Secret, ":")
	switch kind {
	case "user":
		return authentication.Response{User: resource.User{Name: name, UID: "u1", Extra: map[string][]string{"k": {"v"}}}, Audiences: t.Audiences}, true, nil
	case "group":
		return authentication.Response{User: resource.User{Name: "somebody", Groups: []string{name}}}, true, nil
	case "bad":
		return authentication.Response{}, false, errors.New("it has expired")
	case "die":
		os.Exit(7)
	}
	return authentication.Response{}, false, nil
}

func (*testAccess) Authorize(_ context.Context, a authorization.Attributes) (authorization.Decision, string, error) {
	switch {
	case a.Name == a.User.Name:
		return authorization.Allow, "", nil
	case a.Name == "forbidden":
		return authorization.Deny, "nobody may", nil
	case a.Name == "unclear":
		return authorization.NoOpinion, "", errors.New("it is too dark to see")
	case a.Name == "die":
		os.Exit(7)
	}
	return authorization.NoOpinion, "not " + a.Name, nil
}
