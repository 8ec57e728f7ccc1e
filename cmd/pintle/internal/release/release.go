// Package release says which version of Pintle, and of the Kubernetes API, this is.
package release

import (
	"runtime"

	"k8s.io/apimachinery/pkg/version"
)

// Version of Pintle; the linker sets it for releases.
var Version = "v0.1.0-dev"

// Kubernetes is the version of the API that is spoken.
const Kubernetes = "v1.36.3"

// Info is what /version answers.
func Info() version.Info {
	return version.Info{
		Major: "1", Minor: "36", EmulationMajor: "1", EmulationMinor: "36", MinCompatibilityMajor: "1", MinCompatibilityMinor: "35",
		GitVersion: Kubernetes + "+pintle." + Version[1:],
		GoVersion:  runtime.Version(), Compiler: runtime.Compiler,
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}
