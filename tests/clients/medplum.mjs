// What an EHR that is built on Medplum does with the service. Usage: node medplum.mjs MODULES
// A job is read as JSON from standard input; what came of it is written as JSON to standard output.
import { createRequire } from 'node:module';
import { json } from 'node:stream/consumers';

// The library asks for one when it is loaded, and Node has none before 22.
globalThis.WebSocket ??= class {};
const { MedplumClient, buildCdsRequest } = createRequire(`${process.argv[2]}/`)('@medplum/core');

const job = await json(process.stdin);
const client = new MedplumClient({ baseUrl: job.fhir, fhirUrlPath: '', cdsServicesUrl: job.services, cacheTime: 0, maxRetries: 0 });

const tasks = {
  discover: () => client.getCdsServices(),

  // Discovery, prefetch and call, as an EHR goes about it; `templates` are those that a site has written anew.
  async hook() {
    const { services } = await client.getCdsServices();
    const found = services.find((one) => one.hook === job.hook);
    const service = { ...found, prefetch: { ...found.prefetch, ...job.templates } };
    const request = await buildCdsRequest(client, job.user, service, job.context);
    return { request, response: await client.callCdsService(service.id, request) };
  },

  call: () => client.callCdsService(job.id, job.body),

  // The library has no function of its own for it.
  feedback: () => client.post(`${job.services}/${job.id}/feedback`, job.body),
};

let said;
try {
  said = { result: await tasks[job.task]() };
} catch (error) {
  said = { error: { name: error.name, message: error.message, outcome: error.outcome } };
}
process.stdout.write(JSON.stringify(said));
