// Package controllerruntime runs a project written with controller-runtime as a plugin: its
// types, reconcilers and webhooks as they are, with another main.
//
//	func main() {
//		controllerruntime.Serve(controllerruntime.Project{
//			Info:    plugin.MustInfoFrom(manifest), // plugin.yaml, embedded
//			Options: ctrl.Options{Scheme: scheme},
//			Setup: func(mgr ctrl.Manager) error {
//				return (&controllers.BackupReconciler{Client: mgr.GetClient()}).SetupWithManager(mgr)
//			},
//		})
//	}
//
// The manager reaches the API server as the plugin. The host elects the leader, shows whether
// the plugin is healthy and has its logs, so leader election and the servers for metrics, health
// and profiles are off, unless the options ask for the servers. Webhooks built with
// builder.WebhookManagedBy are called as the plugin's admission: without a server, certificates
// or configurations.
//
// It is a module of its own, so that controller-runtime's requirements are only those of who
// uses it. It must not know any project, nor the core.
package controllerruntime
