//! `auth` of an `http:` sink.

use hirewire_service::Secret;
use hirewire_yaml::{Map, Node, Problems};
use reqwest::header::HeaderName;

use super::http::read_url;
use crate::http::Auth;
use crate::http::token::OAuth;

pub(super) fn read_auth(node: &Node, problems: &mut Problems) -> Option<Auth> {
    let (kind, value) = node.tagged(&["bearer", "basic", "header", "oauth"], problems)?;
    if kind == "bearer" {
        return Secret::read(value, problems).map(Auth::Bearer);
    }
    let mut map = value.map(problems)?;
    let auth = match kind {
        "basic" => {
            let user = map.require("user", problems).and_then(|node| node.name(problems)).map(str::to_owned);
            let password = map.require("password", problems).and_then(|node| Secret::read(node, problems));
            user.zip(password).map(|(user, password)| Auth::Basic { user, password })
        }
        "header" => {
            let name = map.require("name", problems).and_then(|node| read_header_name(node, problems));
            let secret = map.require("value", problems).and_then(|node| Secret::read(node, problems));
            name.zip(secret).map(|(name, value)| Auth::Header { name, value })
        }
        _ => read_oauth(&mut map, problems).map(Auth::OAuth),
    };
    map.finish(problems);
    auth
}

fn read_oauth(map: &mut Map<'_>, problems: &mut Problems) -> Option<OAuth> {
    let token_url = map.require("token_url", problems).and_then(|node| read_url(node, problems));
    let client_id = map.require("client_id", problems).and_then(|node| node.name(problems)).map(str::to_owned);
    let client_secret = map.require("client_secret", problems).and_then(|node| Secret::read(node, problems));
    let refresh_token = map.get("refresh_token").map_or(Some(None), |node| Secret::read(node, problems).map(Some));
    let scope = map.get("scope").map_or(Some(None), |node| node.name(problems).map(|text| Some(text.to_owned())));
    Some(OAuth {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        refresh_token: refresh_token?,
        scope: scope?,
    })
}

fn read_header_name(node: &Node, problems: &mut Problems) -> Option<HeaderName> {
    let text = node.text(problems)?;
    let name = HeaderName::try_from(text).ok();
    if name.is_none() {
        problems.add(node, format!("\"{text}\" is no header's name"), "");
    }
    name
}
