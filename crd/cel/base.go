package cel

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Always is the version of options that do not depend on the cluster's.
var Always = version.MajorMinor(1, 0)

// Base returns the environments that all others extend. They exist once in a process and are
// made on the first call.
//
// They take the place of upstream's own, because upstream's validator of rules asks for those
// and for no others. So whoever makes something of upstream's that compiles expressions calls
// Base before.
var Base = sync.OnceValues(func() (*environment.EnvSet, error) {
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	functions, trackers, err := limited(base.StoredExpressionsEnv())
	if err != nil {
		return nil, err
	}
	set, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: Always, EnvOptions: functions,
		ProgramOptions: []cel.ProgramOption{cel.CostTrackerOptions(trackers...), cel.CustomDecorator(limitOperators)},
	})
	if err != nil {
		return nil, fmt.Errorf("CEL environment with limits: %w", err)
	}
	*base = *set
	return base, nil
})
