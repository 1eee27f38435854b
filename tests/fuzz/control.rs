//! Any line is a request, or is answered with what is wrong with it.

use rollbridge::control::request::Request;
use rollbridge::control::wire;

use crate::run::fuzz;

#[test]
fn control() {
    fuzz("control", |line, _| {
        let error = match Request::parse(line) {
            Ok(request) => {
                let again = Request::parse(line).map(|again| again == request);
                return match again {
                    Ok(true) => Ok(()),
                    Ok(false) | Err(_) => Err("it is read differently the second time".to_owned()),
                };
            }
            Err(error) => error,
        };
        let mut answer = Vec::new();
        answer.extend_from_slice(
            serde_json::to_string(&wire::error(error.code(), &error.to_string()))
                .unwrap()
                .as_bytes(),
        );
        if answer.contains(&b'\n') {
            return Err("the answer is not one line".to_owned());
        }
        Ok(())
    });
}
