// Package webhook calls the admission webhooks of MutatingWebhookConfigurations and
// ValidatingWebhookConfigurations. It keeps the configurations compiled by following the
// store, finds those that a request is for, calls them by the AdmissionReview protocol and
// does what they say: patches, refusals, warnings, audit annotations.
//
// Without configurations a request costs an atomic load. A configuration is in force when the
// request that wrote it on the same server is answered.
//
// It must not know how requests are routed and objects are stored, nor anything of kinds but
// the two it is configured by.
package webhook
