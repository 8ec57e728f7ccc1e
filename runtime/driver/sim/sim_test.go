package sim_test

import (
	"testing"

	"github.com/pintle-dev/pintle/runtime/driver/sim"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

func TestContract(t *testing.T) {
	plugintest.RunRuntimeDriver(t, plugintest.RuntimeDriverCase{
		Case:       plugintest.Case{BadSettings: map[string]string{`{"x":1}`: "settings"}},
		Containers: plugintest.Containers{Image: "docker.io/library/any:1", Sleep: []string{"sleep"}},
		New:        func() driver.RuntimeDriver { return sim.NewPlugin() },
	})
}
