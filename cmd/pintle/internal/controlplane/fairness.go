package controlplane

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/host"
)

// newFairness makes the flow control, or none where the configuration wants none.
func (s *Server) newFairness(limits apiserver.Limits, metrics *prometheus.Registry) (err error) {
	if !s.cfg.API.PriorityAndFairness {
		return nil
	}
	limits = limits.WithDefaults()
	s.fairness, err = fairness.New(fairness.Config{
		Seats: limits.MaxReads + limits.MaxWrites, QueueWait: limits.RequestTimeout / 4, Metrics: metrics, Logger: s.log,
	})
	return err
}

// turns is the flow control as the API server takes it.
func (s *Server) turns() apiserver.Fairness {
	if s.fairness == nil {
		return nil // and not an interface that holds nil
	}
	return s.fairness
}

// showFairness writes the objects that flow control has in every cluster and keeps their
// conditions. Requests are sorted before that, too: all in one way.
func (s *Server) showFairness(ctx context.Context, admin *rest.Config) {
	if s.fairness == nil {
		return
	}
	client, err := kubernetes.NewForConfig(admin)
	if err == nil {
		err = fairness.Ensure(ctx, client.FlowcontrolV1(), pluginSchema())
	}
	if err == nil {
		err = s.fairness.ShowDangling(ctx, s.api.Writer())
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("flow control goes on without objects that it should have", "error", err)
	}
}

// pluginSchema gives plugins, which do what elsewhere the controller manager and the
// scheduler do, the same level as these.
func pluginSchema() *flowcontrolv1.FlowSchema {
	all := []string{"*"}
	return &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "pintle-plugins"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "workload-high"},
			MatchingPrecedence:         850,
			DistinguisherMethod:        &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: host.PluginsGroup}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: all, APIGroups: all, Resources: all, ClusterScope: true, Namespaces: all,
				}},
				NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: all, NonResourceURLs: all}},
			}},
		},
	}
}
