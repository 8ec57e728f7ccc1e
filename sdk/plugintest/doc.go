// Package plugintest is for authors' tests: it runs a plugin over real gRPC in the test's
// own process, and holds a plugin to what every host relies on.
//
//	func TestContract(t *testing.T) {
//		plugintest.RunController(t, plugintest.ControllerCase{
//			Case: plugintest.Case{BadSettings: map[string]string{`{"size":-1}`: "settings.size"}},
//			New:  func() controller.Controller { return widget.New() },
//		})
//	}
//
// RunProcess and StartProcess do so with a program in any language, by the handshake of hosts.
//
// It must not know any plugin, nor the core: what passes here runs in any host.
package plugintest
