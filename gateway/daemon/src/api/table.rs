//! The table of routes: one entry makes the route, the right that it needs, and its page in the OpenAPI document.
//!
//! Invariant: what is not in the table is not served, and nothing is served without the scope that the table names.

use super::Api;
use super::auth;
use super::problem::{PROBLEM_JSON, Problem};
use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use gateway_core::config::{Config, Scope};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::sync::Arc;

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
pub struct Route {
    method: Method,
    path: &'static str,
    /// `None`: anybody may.
    scope: Option<Scope>,
    id: &'static str,
    about: &'static str,
    query: Option<MakeSchema>,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<(&'static str, MakeSchema)>,
    answers: Vec<Answer>,
    problems: Vec<u16>,
    /// Whether the settings let anybody in.
    open: fn(&Config) -> bool,
    service: MethodRouter<Arc<Api>>,
}

struct Answer {
    status: u16,
    about: &'static str,
    /// Media type and shape; `None`: no body.
    body: Option<(&'static str, MakeSchema)>,
}

impl Route {
    /// `id` is the operation's name for programs, `about` a sentence for people.
    pub fn new(
        method: Method,
        path: &'static str,
        scope: Option<Scope>,
        (id, about): (&'static str, &'static str),
        service: MethodRouter<Arc<Api>>,
    ) -> Route {
        let (headers, answers) = (Vec::new(), Vec::new());
        // The store may be in trouble, and an answer may take too long.
        let mut problems = vec![503];
        if path.contains('{') {
            problems.extend([400, 404]);
        }
        if scope.is_some() {
            problems.extend([401, 403, 421, 429]);
        }
        Route {
            method,
            path,
            scope,
            id,
            about,
            query: None,
            headers,
            body: None,
            answers,
            problems,
            open: |_| false,
            service,
        }
    }

    /// The shape of the query: an object, a key a parameter.
    pub fn query<T: JsonSchema>(mut self) -> Route {
        self.query = Some(T::json_schema);
        self.problems.push(400);
        self
    }

    /// A header that the route heeds.
    pub fn header(mut self, name: &'static str, about: &'static str) -> Route {
        self.headers.push((name, about));
        self
    }

    /// A body of JSON.
    pub fn body<T: JsonSchema>(mut self) -> Route {
        self.body = Some(("application/json", SchemaGenerator::subschema_for::<T>));
        self.problems.extend([400, 413, 415, 422]);
        self
    }

    /// A body whose shape is somebody else's.
    pub fn any_body(mut self) -> Route {
        self.body = Some(("application/json", |_| Schema::default()));
        self.problems.extend([400, 413, 422]);
        self
    }

    pub fn answer<T: JsonSchema>(self, status: u16, about: &'static str) -> Route {
        self.answer_as(status, about, "application/json", SchemaGenerator::subschema_for::<T>)
    }

    pub fn answer_as(mut self, status: u16, about: &'static str, media: &'static str, shape: MakeSchema) -> Route {
        self.answers.push(Answer { status, about, body: Some((media, shape)) });
        self
    }

    pub fn empty(mut self, status: u16, about: &'static str) -> Route {
        self.answers.push(Answer { status, about, body: None });
        self
    }

    /// Needs no scope while the settings say so.
    pub fn open_if(mut self, open: fn(&Config) -> bool) -> Route {
        self.open = open;
        self
    }

    pub fn problems(mut self, statuses: &[u16]) -> Route {
        self.problems.extend(statuses);
        self
    }
}

/// The routes, each behind the scope that it needs.
pub fn router(routes: Vec<Route>, api: &Arc<Api>) -> Router<Arc<Api>> {
    let mut router = Router::new();
    for route in routes {
        let service = match route.scope {
            Some(scope) if !(route.open)(&api.config) => {
                route.service.route_layer(from_fn_with_state((Arc::clone(api), scope), auth::authorize))
            }
            _ => route.service,
        };
        router = router.route(route.path, service);
    }
    router
}

/// The OpenAPI 3.1 document of these routes.
pub fn document(routes: &[Route], public_url: Option<&str>) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = operation(route, &mut generator);
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Analyzer gateway",
            "description": "Events of laboratory analyzers and of other programs, registrations of samples, and what became of each delivery.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token that `analyzer-gateway token add` has printed. The control socket needs none.",
            } },
        },
    });
    if let Some(url) = public_url {
        document["servers"] = json!([{ "url": url }]);
    }
    document
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({ "operationId": route.id, "summary": route.about });
    let mut parameters = Vec::new();
    for name in route.path.split('{').skip(1).filter_map(|part| part.split('}').next()) {
        let schema = json!({ "type": "string", "minLength": 1 });
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    if let Some(make) = route.query {
        let schema = make(generator).to_value();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let about = schema["description"].clone();
            parameters.push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
        }
    }
    for (name, about) in &route.headers {
        let schema = json!({ "type": "string" });
        parameters.push(json!({ "name": name, "in": "header", "description": about, "schema": schema }));
    }
    operation["parameters"] = Value::Array(parameters);
    if let Some((media, make)) = route.body {
        let content = json!({ media: { "schema": make(generator) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation["responses"] = Value::Object(responses(route, generator));
    if let Some(scope) = route.scope {
        operation["security"] = json!([{ "token": [] }]);
        operation["description"] = json!(format!("Needs a token of scope `{}` or more.", auth::word(scope)));
    }
    operation
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut responses: Map<String, Value> = Map::new();
    for answer in &route.answers {
        let response = responses.entry(answer.status.to_string()).or_insert_with(|| json!({}));
        response["description"] = json!(answer.about);
        if let Some((media, make)) = answer.body {
            response["content"][media] = json!({ "schema": make(generator) });
        }
    }
    for status in &route.problems {
        let schema = generator.subschema_for::<Problem>();
        let about = axum::http::StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({}));
        response["description"] = json!(about);
        response["content"][PROBLEM_JSON] = json!({ "schema": schema });
    }
    responses
}
